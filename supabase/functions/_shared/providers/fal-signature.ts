import { Buffer } from "node:buffer";

export interface FalSignatures {
  /** Whether FAL has signed this text, lately. @throws KeysUnavailable when FAL's keys cannot be had */
  fits(text: string, headers: Headers): Promise<boolean>;
}

export class KeysUnavailable extends Error {}

export interface SignatureOptions {
  jwksUrl: string;
  fetch?: typeof fetch;
  now?: () => number;
}

const toleranceMilliseconds = 300_000;
/** FAL asks that its keys are not kept for longer. */
const longestKept = 24 * 60 * 60 * 1000;
/** A signature that fits no key may be of a new one; how often that is looked at. */
const shortestBetweenLooks = 60_000;
const largestKeySet = 64 * 1024;

/**
 * FAL's signatures of webhooks: Ed25519 over request id, user id, timestamp and the SHA-256 of the body, a line each, by
 * one of the keys that FAL publishes. A signature proves that FAL sent it, to whomever: any account there can have a
 * webhook sent here, so which job it speaks of is looked at as well.
 */
export function createFalSignatures({
  jwksUrl,
  fetch: request = fetch,
  now = Date.now,
}: SignatureOptions): FalSignatures {
  let kept: { keys: CryptoKey[]; at: number } | undefined;
  let looking: Promise<CryptoKey[]> | undefined;

  async function look(): Promise<CryptoKey[]> {
    try {
      const response = await request(jwksUrl, { redirect: "error", signal: AbortSignal.timeout(5_000) });
      if (!response.ok) throw new Error(`FAL's key set answers ${response.status}`);
      const text = await response.text();
      if (text.length > largestKeySet) throw new Error("FAL's key set is too large");
      const keys = await keysIn(JSON.parse(text));
      kept = { keys, at: now() };
      return keys;
    } catch (error) {
      throw new KeysUnavailable("FAL's keys cannot be had", { cause: error });
    } finally {
      looking = undefined;
    }
  }

  async function fitsOne(signed: SignedParts, keys: readonly CryptoKey[]): Promise<boolean> {
    for (const key of keys) {
      if (await crypto.subtle.verify("Ed25519", key, signed.signature, signed.message)) return true;
    }
    return false;
  }

  return {
    async fits(text, headers) {
      const signed = await signedParts(text, headers, now());
      if (!signed) return false;
      const isFresh = kept !== undefined && now() - kept.at < longestKept;
      if (isFresh && kept && (await fitsOne(signed, kept.keys))) return true;
      if (isFresh && kept && now() - kept.at < shortestBetweenLooks) return false;
      return await fitsOne(signed, await (looking ??= look()));
    },
  };
}

interface SignedParts {
  message: Uint8Array<ArrayBuffer>;
  signature: Uint8Array<ArrayBuffer>;
}

async function signedParts(text: string, headers: Headers, at: number): Promise<SignedParts | undefined> {
  const valueOf = (name: string) => headers.get(`x-fal-webhook-${name}`) ?? "";
  const [requestId, userId, timestamp, signature] = ["request-id", "user-id", "timestamp", "signature"].map(
    valueOf,
  );
  if (
    !requestId ||
    !userId ||
    !/^\d{1,12}$/.test(timestamp ?? "") ||
    !/^[0-9a-f]{128}$/i.test(signature ?? "")
  ) {
    return undefined;
  }
  if (Math.abs(at - Number(timestamp) * 1000) > toleranceMilliseconds) return undefined;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const lines = [requestId, userId, timestamp, Buffer.from(digest).toString("hex")];
  return {
    message: new TextEncoder().encode(lines.join("\n")),
    signature: Uint8Array.from(Buffer.from(signature ?? "", "hex")),
  };
}

async function keysIn(set: unknown): Promise<CryptoKey[]> {
  const { keys } = set as { keys?: unknown };
  if (!Array.isArray(keys)) throw new Error("FAL's key set has no keys");
  const found: CryptoKey[] = [];
  for (const key of keys.slice(0, 32) as { kty?: unknown; crv?: unknown; x?: unknown }[]) {
    if (key.kty !== "OKP" || key.crv !== "Ed25519" || typeof key.x !== "string") continue;
    const jwk = { kty: "OKP", crv: "Ed25519", x: key.x };
    found.push(await crypto.subtle.importKey("jwk", jwk, { name: "Ed25519" }, false, ["verify"]));
  }
  if (found.length === 0) throw new Error("FAL's key set has no Ed25519 key");
  return found;
}
