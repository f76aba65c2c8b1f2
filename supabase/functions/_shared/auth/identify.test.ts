import assert from "node:assert/strict";
import { test } from "node:test";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { AppError } from "../errors/app-error.ts";
import { newToken } from "../tokens/token-format.ts";
import { createIdentifier } from "./identify.ts";

const secret = "a-secret-of-at-least-thirty-two-characters";
const issuer = "https://darkroom.example/auth/v1";
const userId = "11111111-2222-4333-8444-555555555555";
const signing = await generateKeyPair("ES256");
const publicJwk = { ...(await exportJWK(signing.publicKey)), kid: "one", alg: "ES256", use: "sig" };

let jwksRequests = 0;
let jwksAnswers = true;
const identifier = createIdentifier({
  serviceKeys: ["service-key-jwt", "sb_secret_x"],
  publicKeys: ["anon-key-jwt", "sb_publishable_x"],
  jwtSecret: secret,
  jwksUrl: "https://darkroom.example/auth/v1/.well-known/jwks.json",
  issuer,
  fetch: () => {
    jwksRequests++;
    return jwksAnswers
      ? Promise.resolve(Response.json({ keys: [publicJwk] }))
      : Promise.reject(new TypeError("fetch failed"));
  },
});

interface TokenOptions {
  claims?: Record<string, unknown>;
  issuer?: string;
  audience?: string;
  expires?: string;
}

function unsigned({
  claims = {},
  issuer: by = issuer,
  audience = "authenticated",
  expires = "1h",
}: TokenOptions = {}): SignJWT {
  return new SignJWT({ role: "authenticated", ...claims })
    .setSubject((claims["sub"] as string | undefined) ?? userId)
    .setIssuer(by)
    .setAudience(audience)
    .setIssuedAt()
    .setExpirationTime(expires);
}

const es256 = (options?: TokenOptions, kid = "one") =>
  unsigned(options).setProtectedHeader({ alg: "ES256", kid }).sign(signing.privateKey);
const hs256 = (options?: TokenOptions, key = secret) =>
  unsigned(options).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(key));

async function kindOf(headers: Record<string, string>): Promise<string> {
  try {
    return (await identifier.identify(new Headers(headers))).kind;
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
}

const bearer = (token: string) => kindOf({ authorization: `Bearer ${token}`, apikey: "anon-key-jwt" });

test("users are known by ES256 of the JWKS and by HS256 of the secret", async () => {
  assert.equal(await bearer(await es256()), "user");
  assert.equal(await bearer(await hs256()), "user");
});

test("forged, expired, foreign and service-claiming tokens are refused", async () => {
  const stranger = await generateKeyPair("ES256");
  const forgeries: Record<string, string> = {
    "other key": await unsigned().setProtectedHeader({ alg: "ES256", kid: "one" }).sign(stranger.privateKey),
    "unknown kid": await es256({}, "two"),
    "other secret": await hs256({}, "another-secret-of-thirty-two-characters!"),
    "public key as secret": await hs256({}, JSON.stringify(publicJwk)),
    expired: await es256({ expires: "-1s" }),
    "other issuer": await es256({ issuer: "https://elsewhere.example/auth/v1" }),
    "other audience": await es256({ audience: "somebody" }),
    "service role": await hs256({ claims: { role: "service_role" } }),
    "anon role": await hs256({ claims: { role: "anon" } }),
    "subject is no uuid": await es256({ claims: { sub: "admin" } }),
    "alg none": new UnsecuredJWT({ role: "authenticated", sub: userId })
      .setIssuer(issuer)
      .setAudience("authenticated")
      .setExpirationTime("1h")
      .encode(),
    "not a token": "nonsense",
    "three parts of nothing": "a.b.c",
  };
  for (const [name, token] of Object.entries(forgeries))
    assert.equal(await bearer(token), "unauthenticated", name);
});

test("a changed signature is refused even after the true one was remembered", async () => {
  const token = await es256();
  assert.equal(await bearer(token), "user");
  const [header, payload, signature = ""] = token.split(".");
  const changed = (signature[10] === "A" ? "B" : "A") + signature.slice(11);
  assert.equal(await bearer(`${header}.${payload}.${signature.slice(0, 10)}${changed}`), "unauthenticated");
});

test("keys: the service's in either header, sb_ ones in apikey only, public ones are nobody in particular", async () => {
  assert.equal(await kindOf({}), "nobody");
  assert.equal(await kindOf({ authorization: "Bearer service-key-jwt" }), "service");
  assert.equal(await kindOf({ apikey: "sb_secret_x" }), "service");
  assert.equal(await kindOf({ apikey: "sb_secret_x", authorization: "Bearer sb_secret_x" }), "service");
  assert.equal(await kindOf({ authorization: "Bearer sb_secret_x" }), "unauthenticated");
  assert.equal(
    await kindOf({ apikey: "sb_publishable_x", authorization: "Bearer sb_secret_x" }),
    "unauthenticated",
  );
  assert.equal(await kindOf({ apikey: "anon-key-jwt" }), "public-key");
  assert.equal(await kindOf({ authorization: "Bearer anon-key-jwt" }), "public-key");
  assert.equal(await kindOf({ apikey: "sb_secret_" }), "unauthenticated");
  assert.equal(await kindOf({ authorization: "Basic abc" }), "unauthenticated");
});

test("a personal access token is told by its form; a mistyped one is refused at once", async () => {
  const token = newToken();
  assert.equal(await bearer(token), "personal-access-token");
  assert.equal(await bearer(`${token.slice(0, -1)}${token.endsWith("a") ? "b" : "a"}`), "unauthenticated");
  assert.equal(await bearer("dr_pat_"), "unauthenticated");
});

test("with the JWKS away, known keys still serve", async () => {
  assert.equal(await bearer(await es256()), "user");
  const before = jwksRequests;
  jwksAnswers = false;
  assert.equal(await bearer(await es256({ claims: { fresh: true } })), "user");
  assert.equal(jwksRequests, before);
});
