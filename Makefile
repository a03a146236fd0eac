# hotlayer: `make` builds build/hotlayer and build/hotlayerd. `make help` lists the rest.

CC ?= cc
PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
SANITIZE ?=
OPTIMIZE ?= -O3

CFLAGS ?= -g
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Werror
# Determinism of results across compilers: no contraction of a * b + c beyond what the source asks for. And none of this
# folder's path in the programs: hotlayerd goes into images as it is.
override CFLAGS += -std=c11 -D_GNU_SOURCE $(OPTIMIZE) $(WARNINGS) -ffp-contract=off -fPIE -fstack-protector-strong \
                   -ffile-prefix-map=$(CURDIR)=. -Iinclude -I. -MMD -MP -pthread
override LDFLAGS += -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed
ifneq ($(SANITIZE),)
override CFLAGS += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
override LDFLAGS += -fsanitize=$(SANITIZE)
else # a program carries the functions that it calls, not all of an object
override CFLAGS += -ffunction-sections -fdata-sections
override LDFLAGS += -Wl,--gc-sections
endif

# The runtime carries its few libraries inside, so that an image needs little more than libc; the packer does not mind.
READER_LIBS := -l:libpcre2-8.a -l:libutf8proc.a -lcjson -lm
RUNTIME_LIBS := -l:libevent_extra.a -l:libevent_core.a -l:libevent_pthreads.a $(READER_LIBS)
PACK_LIBS := -lcurl -larchive -lzstd -lcrypto

# The folders of the product, in the order of the tree (ARCHITECTURE.md): a folder uses only what stands below it here.
# Each becomes an archive; a program is linked from the objects of its own folder and the archives.
ROOMS := pack/hotlayer pack/synth pack/image pack pack/convert pack/compile pack/vocabulary pack/source \
         registry/remote registry/oci registry/net \
         runtime/hotlayerd runtime/server/ollama runtime/server runtime/engine runtime/model \
         runtime/template runtime/template/jinja runtime/template/go runtime/template/core runtime/tokenizer \
         kernels/cpu/avx2 kernels/cpu/avx512 kernels/cpu \
         kernels/cuda kernels/cuda/code kernels/cuda/machine kernels include/hotlayer base
ifneq ($(shell uname -m),x86_64)
OTHER_PROCESSORS := kernels/cpu/avx%
endif

UNIT := $(shell find tests/unit -name 'test_*.c' | sort)
FUZZ := $(wildcard tests/fuzz/fuzz_*.c)
BENCH := $(wildcard bench/*.c)

objects = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)/*.c)) $(patsubst %.cu,$(BUILD)/%.o,$(wildcard $(1)/*.cu))
archives = $(foreach room,$(1),$(if $(wildcard $(room)/*.c $(room)/*.cu),$(BUILD)/$(room).a))
LIBRARY := $(call archives,$(filter-out %/hotlayer %/hotlayerd $(OTHER_PROCESSORS),$(ROOMS)))
RUNTIME_LIBRARY := $(filter-out $(BUILD)/pack% $(BUILD)/registry%,$(LIBRARY))

all: $(BUILD)/hotlayer $(BUILD)/hotlayerd $(BUILD)/tests/libfakecuda.so

# An instruction set is a folder.
$(BUILD)/kernels/cpu/avx2/%.o: override CFLAGS += -mavx2 -mfma -mf16c
$(BUILD)/kernels/cpu/avx512/%.o: override CFLAGS += -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl \
                                                  -mavx512vnni -mavx512bf16

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo '  CC    $<'
	@$(CC) $(CFLAGS) -c $< -o $@

# The GPU's kernels as C, for the emulation. Programs do not call it, so they do not contain it.
$(BUILD)/%.o: %.cu Makefile
	@mkdir -p $(@D)
	@echo '  CC    $<'
	@$(CC) $(CFLAGS) -x c -c $< -o $@

# What only a debugger reads goes into a file beside the program, where debuggers look for it: hotlayerd goes into images as
# it is, and would be four times as large. Sanitizers want it inside.
ifeq ($(SANITIZE),)
detach_debug = objcopy --only-keep-debug $@ $@.debug && objcopy --strip-debug --add-gnu-debuglink=$@.debug $@
else
detach_debug = :
endif

define archive
$(BUILD)/$(1).a: $(call objects,$(1))
	@rm -f $$@
	@$(AR) rcsD $$@ $$^
endef
$(foreach room,$(ROOMS),$(eval $(call archive,$(room))))

link = $(CC) $(CFLAGS) $(LDFLAGS) -Wl,--start-group $^ -Wl,--end-group

$(BUILD)/hotlayer: $(call objects,pack/hotlayer) $(LIBRARY)
	@echo '  LINK  $@'
	@$(link) $(READER_LIBS) $(PACK_LIBS) -o $@
	@$(detach_debug)

# Where an image on a base has its libraries (pack/image/elf.h); elsewhere nothing is there.
$(BUILD)/hotlayerd: $(call objects,runtime/hotlayerd) $(RUNTIME_LIBRARY)
	@echo '  LINK  $@'
	@$(link) -Wl,--disable-new-dtags,-rpath,/usr/lib/hotlayer $(RUNTIME_LIBS) -o $@
	@$(detach_debug)

# The emulation finds kernels by name, so the linker does not see that they are needed.
$(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/kernels/cuda/test_*.c)): $(call objects,kernels/cuda/code)

# A driver of tests, without a GPU. As a library that is opened late it needs objects of its own.
FAKE_CUDA := $(wildcard tests/cuda/*.c kernels/cuda/machine/*.c kernels/cuda/code/*.cu) base/team.c

$(BUILD)/shared/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo '  CC    $< (shared)'
	@$(CC) $(CFLAGS) -fPIC -fvisibility=hidden -c $< -o $@

$(BUILD)/shared/%.o: %.cu Makefile
	@mkdir -p $(@D)
	@echo '  CC    $< (shared)'
	@$(CC) $(CFLAGS) -fPIC -fvisibility=hidden -x c -c $< -o $@

$(BUILD)/tests/libfakecuda.so: $(addprefix $(BUILD)/shared/,$(addsuffix .o,$(basename $(FAKE_CUDA))))
	@echo '  LINK  $@'
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) $(filter-out -pie,$(LDFLAGS)) -shared -Wl,-z,nodelete $^ -lm -o $@

$(BUILD)/tests/unit/kernels/cuda/test_fakecuda: | $(BUILD)/tests/libfakecuda.so

# Their servers speak TLS.
$(BUILD)/tests/unit/%: PACK_LIBS += -lssl

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(LIBRARY)
	@echo '  LINK  $@'
	@$(link) $(RUNTIME_LIBS) $(PACK_LIBS) -o $@

$(BUILD)/bench/%: $(BUILD)/bench/%.o $(LIBRARY)
	@echo '  LINK  $@'
	@$(link) $(RUNTIME_LIBS) $(PACK_LIBS) -o $@

# Fuzz targets that only run the files they are given (tests/fuzz/replay.sh), for every compiler.
$(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/main.o $(LIBRARY)
	@echo '  LINK  $@'
	@$(link) $(RUNTIME_LIBS) $(PACK_LIBS) -o $@

units: $(UNIT:%.c=$(BUILD)/%) $(BUILD)/tests/template/render $(FUZZ:tests/fuzz/fuzz_%.c=$(BUILD)/tests/fuzz/replay_%)

# Unit tests and command-line tests with what is built; tests/run.sh adds the installation of packages and the containers.
test: all units
	sh tests/check.sh $(BUILD)

asan:
	$(MAKE) BUILD=build-asan SANITIZE=address,undefined OPTIMIZE=-O1 test

tsan:
	$(MAKE) BUILD=build-tsan SANITIZE=thread OPTIMIZE=-O1 test

bench: all $(BENCH:%.c=$(BUILD)/%)
	bench/coldstart --build $(BUILD)

# Each fuzz target for FUZZ_SECONDS, one after another; tests/fuzz/README.md says how to look at a finding.
FUZZ_SECONDS ?= 600
fuzz: $(BUILD)/hotlayer $(BUILD)/hotlayerd
	$(MAKE) BUILD=build-fuzz CC=clang OPTIMIZE=-O1 SANITIZE=fuzzer-no-link,address,undefined fuzz-targets
	sh tests/fuzz/run.sh build-fuzz $(FUZZ_SECONDS) $(BUILD)/hotlayer

fuzz-targets: $(FUZZ:%.c=$(BUILD)/%)

$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(LIBRARY)
	@echo '  LINK  $@'
	@$(filter-out -fsanitize=%,$(link)) -fsanitize=fuzzer,address,undefined $(RUNTIME_LIBS) $(PACK_LIBS) -o $@

PRODUCT := $(foreach room,$(ROOMS),$(wildcard $(room)/*.[ch]))
SOURCES := $(PRODUCT) $(shell find tests bench -name '*.[ch]' | sort)

format:
	clang-format -i $(SOURCES)

# clang-tidy reads the product's sources; its stderr only counts suppressed warnings. Not kernels/cpu/avx*/: it does not
# know the target flags from the rules above.
lint:
	clang-format --dry-run -Werror $(SOURCES)
	@echo '  CLANG' # builds the fuzz targets, and warns of other things than gcc
	@printf '%s\n' $(filter-out kernels/cpu/avx%,$(filter %.c,$(PRODUCT))) $(FUZZ) | \
	    xargs -P $$(nproc) -n 16 clang -std=c11 -D_GNU_SOURCE $(WARNINGS) -Iinclude -I. -fsyntax-only
	@echo '  TIDY'
	@printf '%s\n' $(filter-out kernels/cpu/avx%,$(filter %.c,$(PRODUCT))) | \
	    xargs -P $$(nproc) -n 4 sh -c 'clang-tidy --quiet "$$@" -- -std=c11 -D_GNU_SOURCE -Iinclude -I. 2>/dev/null' tidy
	cppcheck -j $$(nproc) --quiet --std=c11 --error-exitcode=1 --inline-suppr --suppressions-list=.cppcheck --enable=warning,portability \
	    -D_GNU_SOURCE -Iinclude -I. base kernels runtime registry pack

# The order of the tree, for tests/tidy.sh.
rooms:
	@printf '%s\n' $(ROOMS)

install: all
	install -D -m 0755 $(BUILD)/hotlayer $(DESTDIR)$(PREFIX)/bin/hotlayer
	install -D -m 0755 $(BUILD)/hotlayerd $(DESTDIR)$(PREFIX)/bin/hotlayerd
	for page in docs/man/*.[17]; do \
	    install -D -m 0644 "$$page" "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$$(basename "$$page")"; done

clean:
	rm -rf build build-asan build-tsan build-fuzz

help:
	@echo 'make              build/hotlayer and build/hotlayerd'
	@echo 'make test         unit and command-line tests'
	@echo 'make asan, tsan   the same under sanitizers'
	@echo 'make fuzz         every fuzz target, FUZZ_SECONDS=600 each'
	@echo 'make bench        start-up times of this build'
	@echo 'make format, lint'
	@echo 'make install      PREFIX=/usr/local DESTDIR='

.PHONY: all rooms units test asan tsan bench fuzz fuzz-targets format lint install clean help
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
