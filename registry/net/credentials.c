#include "registry/net/credentials.h"

void hl_credentials_free(struct hl_credentials *credentials)
{
    hl_secret_free(credentials->user);
    hl_secret_free(credentials->secret);
    hl_secret_free(credentials->identity_token);
    hl_secret_free(credentials->bearer);
    *credentials = (struct hl_credentials){0};
}
