import { importJWK, SignJWT } from "jose";
import type { HostContext } from "../context.ts";
import type { UserRow } from "./users.ts";

export const accessTokenSeconds = 3_600;

export type SignAccessToken = (user: UserRow, session: { id: string; created_at: Date }) => Promise<string>;

/** Signs what a user's session may show: ES256, so that clients can check it by the JWKS. */
export function createAccessTokenSigner({ apiUrl, keys }: HostContext): SignAccessToken {
  const { kid } = keys.signingJwk;
  let importing: ReturnType<typeof importJWK> | undefined;

  return async (user, session) => {
    importing ??= importJWK(keys.signingJwk, "ES256");
    const now = Math.floor(Date.now() / 1000);
    return await new SignJWT({
      role: "authenticated",
      email: user.email ?? "",
      phone: "",
      session_id: session.id,
      app_metadata: user.raw_app_meta_data,
      user_metadata: user.raw_user_meta_data,
      aal: "aal1",
      amr: [{ method: "password", timestamp: Math.floor(session.created_at.getTime() / 1000) }],
      is_anonymous: user.is_anonymous,
    })
      .setProtectedHeader({ alg: "ES256", kid, typ: "JWT" })
      .setIssuer(`${apiUrl}/auth/v1`)
      .setAudience("authenticated")
      .setSubject(user.id)
      .setIssuedAt(now)
      .setExpirationTime(now + accessTokenSeconds)
      .sign(await importing);
  };
}
