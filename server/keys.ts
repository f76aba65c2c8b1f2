import { createECDH, createHash, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { SignJWT } from "jose";
import { type Sql } from "../supabase/functions/_shared/database/sql.ts";
import type { HostKeys } from "./context.ts";
import { createDurably, readText } from "./durable-file.ts";
import { exists } from "./postgres/placement.ts";

/** Keys that an operator chose; the others follow from the secret. */
export type GivenKeys = { [Name in Exclude<keyof HostKeys, "signingJwk">]?: string | undefined };

/**
 * All keys of an installation. Every key that is not given is derived from the secret, so that hosts which
 * share the secret share all keys; who knows the secret can sign as anybody anyway.
 */
export async function deriveKeys(jwtSecret: string, given: GivenKeys): Promise<HostKeys> {
  return {
    jwtSecret,
    anonKey: given.anonKey ?? (await legacyKey(jwtSecret, "anon")),
    serviceRoleKey: given.serviceRoleKey ?? (await legacyKey(jwtSecret, "service_role")),
    publishableKey: given.publishableKey ?? `sb_publishable_${opaqueKey(jwtSecret, "publishable")}`,
    secretKey: given.secretKey ?? `sb_secret_${opaqueKey(jwtSecret, "secret")}`,
    signingJwk: signingJwk(jwtSecret),
  };
}

/** The secret kept in the data folder, made at the first start. */
export async function secretInFolder(directory: string): Promise<string> {
  const file = path.join(directory, "secret");
  await mkdir(directory, { recursive: true, mode: 0o755 });
  // Of two hosts that start at once, the one that creates the file decides.
  if (!(await exists(file))) await createDurably(file, randomBytes(32).toString("base64url"));
  const secret = (await readText(file))?.trim() ?? "";
  if (!isSecret(secret)) {
    throw new Error(
      `${file} is damaged: it holds no secret of 32 printable characters or more. Restore it from a backup, or delete it: ` +
        "a new one is made then, with other keys, and every session ends.",
    );
  }
  return secret;
}

/** Ours is base64url, an operator's may be any text. After a power failure a file may hold zeros of the right length. */
function isSecret(text: string): boolean {
  return /^[^\p{C}\p{Zl}\p{Zp}\ufffd]{32,}$/u.test(text);
}

/** The secret kept in the database, for hosts that share it and nothing else. */
export async function secretInDatabase(sql: Sql): Promise<string> {
  await sql`
    insert into darkroom_host.secrets (name, value)
    values ('jwt_secret', ${randomBytes(32).toString("base64url")}) on conflict do nothing`;
  const [row] = await sql<{ value: string }[]>`
    select value from darkroom_host.secrets where name = 'jwt_secret'`;
  if (!row) throw new Error("darkroom_host.secrets lost its row.");
  return row.value;
}

/** The same string for the same secret, for keys are compared as a whole: its dates are fixed. */
async function legacyKey(secret: string, role: "anon" | "service_role"): Promise<string> {
  return await new SignJWT({ role })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuer("supabase")
    .setIssuedAt(1_767_225_600)
    .setExpirationTime(2_398_377_600)
    .sign(new TextEncoder().encode(secret));
}

function opaqueKey(secret: string, purpose: string): string {
  return createHmac("sha256", secret).update(`darkroom ${purpose} key`).digest("base64url").slice(0, 32);
}

function signingJwk(secret: string): HostKeys["signingJwk"] {
  const curve = createECDH("prime256v1");
  const secretNumber = scalar(secret);
  curve.setPrivateKey(secretNumber);
  const point = curve.getPublicKey();
  const [x, y] = [point.subarray(1, 33), point.subarray(33)];
  return {
    kty: "EC",
    crv: "P-256",
    alg: "ES256",
    x: x.toString("base64url"),
    y: y.toString("base64url"),
    d: secretNumber.toString("base64url"),
    kid: createHash("sha256").update(point).digest("base64url").slice(0, 22),
  };
}

/** A private number of the curve P-256, equally likely to be any: reduced from 64 bits more than it has. */
function scalar(secret: string): Buffer {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const bytes = Buffer.from(hkdfSync("sha256", secret, "", "darkroom session signing key", 40));
  const number = (BigInt(`0x${bytes.toString("hex")}`) % (order - 1n)) + 1n;
  return Buffer.from(number.toString(16).padStart(64, "0"), "hex");
}
