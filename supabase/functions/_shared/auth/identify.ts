import {
  createRemoteJWKSet,
  customFetch,
  decodeProtectedHeader,
  errors,
  jwtVerify,
  type JWTPayload,
} from "jose";
import { AppError } from "../errors/app-error.ts";
import { hashToken, isWellFormedToken, looksLikeToken } from "../tokens/token-format.ts";

/** What credentials are checked against; one installation has one. */
export interface VerificationKeys {
  /** Keys that stand for the service itself: the legacy JWT and `sb_secret_…` ones. */
  serviceKeys: string[];
  /** Keys that browsers carry; they name the project, not a person. */
  publicKeys: string[];
  /** HS256 secret for user tokens, when the installation has one. */
  jwtSecret: string | undefined;
  /** Where the public keys of user tokens are. */
  jwksUrl: string;
  /** Required `iss` of user tokens. */
  issuer: string;
  /** Serves the JWKS without the network, when the host that signs is this process. */
  fetch?: typeof fetch;
}

export interface UserClaims extends JWTPayload {
  sub: string;
  role: "authenticated";
}

export type Identity =
  | { kind: "nobody" }
  | { kind: "public-key" }
  | { kind: "service"; key: string }
  | { kind: "user"; userId: string; claims: UserClaims }
  | { kind: "personal-access-token"; tokenHash: Uint8Array };

export interface Identifier {
  /**
   * Who sends these headers. Nothing sent is `nobody`, a public key alone `public-key`.
   * @throws AppError `unauthenticated` for credentials that are wrong.
   */
  identify(headers: Headers): Promise<Identity>;
  /** Checks a user's token: signature, `exp`, `iss`, `aud`, `role`. @throws AppError `unauthenticated` */
  verifyUserToken(token: string): Promise<UserClaims>;
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function createIdentifier(keys: VerificationKeys): Identifier {
  const secret = keys.jwtSecret ? new TextEncoder().encode(keys.jwtSecret) : undefined;
  const jwks = createRemoteJWKSet(new URL(keys.jwksUrl), {
    timeoutDuration: 5_000,
    cooldownDuration: 5_000,
    // An unreachable JWKS must not end sessions: keys are kept for a day and fetched anew for an unknown `kid`.
    cacheMaxAge: 86_400_000,
    ...(keys.fetch ? { [customFetch]: keys.fetch } : {}),
  });
  const verified = new Map<string, { claims: UserClaims; expiresAt: number }>();

  async function verifyUserToken(token: string): Promise<UserClaims> {
    const known = verified.get(token);
    if (known && known.expiresAt > Date.now()) return known.claims;
    verified.delete(token);

    const claims = await verifySignature(token);
    const expiresAt = (claims.exp ?? 0) * 1000;
    if (claims["role"] !== "authenticated" || typeof claims.sub !== "string" || !uuid.test(claims.sub)) {
      throw new AppError("unauthenticated");
    }
    if (verified.size >= 10_000) verified.clear();
    verified.set(token, { claims: claims as UserClaims, expiresAt });
    return claims as UserClaims;
  }

  async function verifySignature(token: string): Promise<JWTPayload> {
    const rules = { issuer: keys.issuer, audience: "authenticated", requiredClaims: ["exp", "sub"] };
    let algorithm: string | undefined;
    try {
      algorithm = decodeProtectedHeader(token).alg;
    } catch (error) {
      throw new AppError("unauthenticated", {}, { cause: error });
    }
    try {
      // The algorithm is ours to choose per key kind: a public key must never be tried as an HMAC secret.
      if (algorithm === "HS256") {
        if (!secret) throw new AppError("unauthenticated");
        return (await jwtVerify(token, secret, { ...rules, algorithms: ["HS256"] })).payload;
      }
      return (await jwtVerify(token, jwks, { ...rules, algorithms: ["ES256", "RS256"] })).payload;
    } catch (error) {
      if (error instanceof AppError) throw error;
      if (error instanceof errors.JWKSTimeout || isNetworkFailure(error)) {
        throw new AppError("database_unavailable", { retry_after: 2 }, { cause: error });
      }
      throw new AppError("unauthenticated", {}, { cause: error });
    }
  }

  async function identify(headers: Headers): Promise<Identity> {
    const apiKey = headers.get("apikey");
    const sent = bearerToken(headers.get("authorization"));
    // Some clients repeat an `sb_` key as bearer; then the one in `apikey` counts, as at Supabase's gateway.
    const bearer = sent === apiKey && sent?.startsWith("sb_") ? undefined : sent;
    if (bearer === undefined) {
      if (apiKey === null) return { kind: "nobody" };
      const service = matching(keys.serviceKeys, apiKey);
      if (service) return { kind: "service", key: service };
      if (matching(keys.publicKeys, apiKey)) return { kind: "public-key" };
      throw new AppError("unauthenticated");
    }
    // `sb_` keys are opaque and belong in `apikey`; as a bearer they would travel where tokens are logged.
    if (bearer.startsWith("sb_")) throw new AppError("unauthenticated");
    const service = matching(keys.serviceKeys, bearer);
    if (service) return { kind: "service", key: service };
    if (matching(keys.publicKeys, bearer)) return { kind: "public-key" };
    if (looksLikeToken(bearer)) {
      if (!isWellFormedToken(bearer)) throw new AppError("unauthenticated");
      return { kind: "personal-access-token", tokenHash: await hashToken(bearer) };
    }
    const claims = await verifyUserToken(bearer);
    return { kind: "user", userId: claims.sub.toLowerCase(), claims };
  }

  return { identify, verifyUserToken };
}

function bearerToken(header: string | null): string | undefined {
  if (header === null) return undefined;
  const match = /^bearer +(\S+) *$/i.exec(header);
  if (!match?.[1]) throw new AppError("unauthenticated");
  return match[1];
}

function matching(known: string[], given: string): string | undefined {
  // Every key is compared, whole: the time tells nothing of which one, or how much of it, was right.
  let found: string | undefined;
  for (const key of known) if (equalInConstantTime(key, given)) found = key;
  return found;
}

function equalInConstantTime(a: string, b: string): boolean {
  const left = new TextEncoder().encode(a);
  const right = new TextEncoder().encode(b);
  let difference = left.length ^ right.length;
  for (let index = 0; index < left.length; index++) {
    difference |= (left[index] ?? 0) ^ (right[index % (right.length || 1)] ?? 0);
  }
  return difference === 0;
}

function isNetworkFailure(error: unknown): boolean {
  return (
    error instanceof TypeError || (error instanceof errors.JOSEError && error.code === "ERR_JOSE_GENERIC")
  );
}
