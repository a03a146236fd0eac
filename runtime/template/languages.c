/* The table of languages that a template section may be in. */
#include "runtime/template/go/go_values.h"
#include "runtime/template/jinja/jinja_library.h"

const struct hl_dialect *const hl_template_dialects[HL_TEMPLATE_LANGUAGES] = {
    [HL_TEMPLATE_JINJA] = &hl_jinja_dialect,
    [HL_TEMPLATE_GO] = &hl_go_dialect,
};
