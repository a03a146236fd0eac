/* A line is one write, so that lines of several processes on one stderr do not mix. */
#include "runtime/server/log.h"
#include "base/cleanup.h"
#include <math.h>
#include <string.h>
#include <utf8proc.h>

/* Replaces bytes that are not UTF-8 by '?': paths and names may hold any bytes, JSON may not. */
static void clean(char *text)
{
    utf8proc_int32_t code;
    for (utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text), n; left > 0; text += n, left -= n)
        if ((n = utf8proc_iterate((utf8proc_uint8_t *)text, left, &code)) < 1) {
            *text = '?';
            n = 1;
        }
}

void hl_log(enum hl_severity severity, const char *message, cJSON *fields)
{
    static const char *const names[] = {"INFO", "WARNING", "ERROR"};
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "severity", names[severity]);
    cJSON_AddStringToObject(line, "message", message);
    for (cJSON *field; fields && (field = cJSON_DetachItemFromArray(fields, 0));)
        cJSON_AddItemToArray(line, field); /* keeps its name */
    HL_FREE char *text = cJSON_PrintUnformatted(line);
    cJSON_Delete(line);
    cJSON_Delete(fields);
    if (!text)
        return;
    clean(text);
    fprintf(stderr, "%s\n", text);
}

double hl_log_ms(uint64_t ns)
{
    return round((double)ns / 1e3) / 1e3;
}
