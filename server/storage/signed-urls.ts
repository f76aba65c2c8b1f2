import { errors, jwtVerify, SignJWT } from "jose";
import { StorageError } from "./errors.ts";

/** What a signed URL allows, for one object. */
export type Permission =
  | { purpose: "download"; bucket: string; name: string }
  | { purpose: "upload"; bucket: string; name: string; upsert: boolean; ownerId: string | undefined };

export interface UrlSigner {
  sign(permission: Permission, expiresInSeconds: number): Promise<string>;
  /** @throws StorageError unless the token was signed here, for this purpose and this object, and still holds. */
  verify<Purpose extends Permission["purpose"]>(
    token: string | undefined,
    purpose: Purpose,
    bucket: string,
    name: string,
  ): Promise<Extract<Permission, { purpose: Purpose }>>;
}

export function createUrlSigner(jwtSecret: string): UrlSigner {
  const secret = new TextEncoder().encode(jwtSecret);
  return {
    sign({ purpose, bucket, name, ...rest }, expiresInSeconds) {
      const now = Math.floor(Date.now() / 1000);
      return new SignJWT({ url: `${bucket}/${name}`, ...rest })
        .setProtectedHeader({ alg: "HS256" })
        .setAudience(audience(purpose))
        .setIssuedAt(now)
        .setExpirationTime(now + expiresInSeconds)
        .sign(secret);
    },

    async verify<Purpose extends Permission["purpose"]>(
      token: string | undefined,
      purpose: Purpose,
      bucket: string,
      name: string,
    ) {
      const claims = await verified(token ?? "", secret, audience(purpose));
      if (claims["url"] !== `${bucket}/${name}`) throw new StorageError("InvalidSignature");
      const permission =
        purpose === "download"
          ? { purpose, bucket, name }
          : {
              purpose,
              bucket,
              name,
              upsert: claims["upsert"] === true,
              ownerId: typeof claims["ownerId"] === "string" ? claims["ownerId"] : undefined,
            };
      return permission as Extract<Permission, { purpose: Purpose }>;
    },
  };
}

/**
 * User tokens may be signed by the same secret. The audience tells them apart: theirs is "authenticated", and
 * neither is ever taken for the other.
 */
function audience(purpose: Permission["purpose"]): string {
  return `storage:${purpose}`;
}

async function verified(
  token: string,
  secret: Uint8Array,
  expected: string,
): Promise<Record<string, unknown>> {
  try {
    const rules = { algorithms: ["HS256"], audience: expected, requiredClaims: ["exp", "url"] };
    return (await jwtVerify(token, secret, rules)).payload;
  } catch (error) {
    if (error instanceof errors.JWTExpired)
      throw new StorageError("ExpiredToken", undefined, { cause: error });
    if (error instanceof errors.JOSEError)
      throw new StorageError("InvalidSignature", undefined, { cause: error });
    throw error;
  }
}
