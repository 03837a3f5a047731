// An OpenID provider for tests: node provider.mjs PORT
//
// Whoever logs in as NAME has a token that says what a CI's would: NAME's repository, main branch.
import Provider from 'oidc-provider';

const port = Number(process.argv[2]);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: 'registry.example',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/callback', 'http://127.0.0.1/ui/callback'],
    },
    {
      client_id: 'with secret',
      client_secret: 'a secret: 100%',
      application_type: 'native',
      token_endpoint_auth_method: 'client_secret_basic',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/ui/callback'],
    },
  ],
  // Claims are in the token itself, as CI systems have it.
  conformIdTokenClaims: false,
  claims: { openid: ['sub', 'repository', 'ref', 'groups'] },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: async () => ({
      sub: id,
      repository: `myorg/${id}`,
      ref: 'refs/heads/main',
      groups: ['runners'],
    }),
  }),
});
provider.listen(port, '127.0.0.1');
