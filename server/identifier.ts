import { createIdentifier, type Identifier } from "../supabase/functions/_shared/auth/identify.ts";
import type { HostContext, HostKeys } from "./context.ts";

/** The public half of the key that signs user sessions. */
export function publicJwks(keys: HostKeys): { keys: Record<string, unknown>[] } {
  const { d: _private, ...publicHalf } = keys.signingJwk;
  return { keys: [{ ...publicHalf, use: "sig", alg: "ES256" }] };
}

/** Knows the callers of auth, rest, storage and realtime by the same rules as the functions do. */
export function hostIdentifier({ apiUrl, keys }: HostContext): Identifier {
  return createIdentifier({
    serviceKeys: [keys.serviceRoleKey, keys.secretKey],
    publicKeys: [keys.anonKey, keys.publishableKey],
    jwtSecret: keys.jwtSecret,
    jwksUrl: `${apiUrl}/auth/v1/.well-known/jwks.json`,
    issuer: `${apiUrl}/auth/v1`,
    // This process signs the tokens: it knows its keys without asking itself over the network.
    fetch: () => Promise.resolve(Response.json(publicJwks(keys))),
  });
}
