#include "runtime/commands.h"
int hl_cmd_serve(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 1;
}
