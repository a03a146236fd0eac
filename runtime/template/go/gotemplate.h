/* Go's text/template, as the templates of Ollama's models use it. It is compiled into the same tree as Jinja and
 * rendered by the same interpreter (runtime/template/core/template.h), with Go's rules of truth, comparison and
 * printing.
 *
 * The language is that of https://pkg.go.dev/text/template (Go 1.24), with the functions json, currentDate,
 * yesterdayDate and toTypeScriptType. Not supported, and refused by name: call, html, js, urlquery, imaginary numbers,
 * methods, declarations in parentheses, printf's * and [], %#v of lists and maps, and %x of floats. Go finds some
 * errors only while a template runs (a wrong number of arguments, an unknown template). Those that the text shows are
 * refused when it is compiled.
 *
 * The data, after Ollama's https://docs.ollama.com/modelfile (template) and its server:
 *
 *   .Messages  list of .Role .Content .Thinking .Images .ToolCalls .ToolName .ToolCallID
 *              .ToolCalls: list of .ID .Function (.Index .Name .Arguments)
 *   .Tools     list of .Type .Items .Function (.Name .Description .Parameters)
 *              .Parameters: .Type .Defs .Items .Required .Properties, a map of name to
 *              .AnyOf .Type .Items .Description .Enum .Properties .Required
 *   .System    the contents of all system messages, joined by an empty line
 *   .Prompt .Suffix .Response   text
 *   .Think .IsThinkSet .ThinkLevel   whether and how much the model shall think
 *
 * Neighbours with the same role become one message, joined by an empty line, except for tool messages. Numbers from
 * clients are floats and their maps are sorted, as Go decodes JSON. Tools, their functions and parameters, and the
 * arguments of calls print as JSON, because models were trained with that. Present versions of Ollama print a function
 * as a Go struct instead.
 *
 * Three ways to render:
 *   insert    if there are a prompt and a suffix: .Prompt and .Suffix
 *   messages  if the template mentions .Messages
 *   turns     otherwise: once for each turn with .System, .Prompt and .Response. The last turn ends after the first
 *             .Response of the template, where the model continues. A template that mentions neither .Messages nor
 *             .Response has .Response at its end.
 */
#ifndef HL_RUNTIME_TEMPLATE_GO_GOTEMPLATE_H
#define HL_RUNTIME_TEMPLATE_GO_GOTEMPLATE_H

#include "runtime/template/core/template.h"

#define HL_GOTEMPLATE_MAX_BYTES (128u << 10) /* of the source: sixteen times the size of real ones */

/* Compiles UTF-8 text into a template section, which the caller frees. Any error in the text is HL_ERROR_REQUEST and
 * names the line. hl_template_name() then lists, in lower case, the fields of the data above that the template
 * mentions: "messages", "tools", "suffix", "thinking", ... */
int hl_gotemplate_compile(const char *source, size_t n, uint8_t **out, size_t *bytes, struct hl_error *err);

struct hl_gotemplate_input {
    /* A list of dicts as in Ollama's /api/chat and OpenAI's chat completions, or none. Members: role, content (text,
     * null, or a list of parts), thinking or reasoning_content, tool_calls (arguments as an object or as JSON text),
     * tool_name or name, tool_call_id. */
    struct hl_value messages;
    struct hl_value tools;          /* list of dicts as in both APIs, or none */
    struct hl_value prompt, suffix; /* text: fill in the middle, if both exist and are not empty; or none */
    struct hl_value think;          /* bool; text: true, and how much; none: not set */
};

/* Renders a conversation with a template of this language; in all else like hl_template_render(). */
int hl_gotemplate_render(const struct hl_template *t, struct hl_arena *arena, const struct hl_gotemplate_input *input,
                         int64_t now, char **out, size_t *n, struct hl_error *err);

#endif
