import { getConnInfo } from "@hono/node-server/conninfo";
import { type Context, Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { idOf } from "../../supabase/functions/_shared/http/bind.ts";
import { corsHeaders } from "../../supabase/functions/_shared/http/cors.ts";
import type { HostContext } from "../context.ts";
import { hostIdentifier, publicJwks } from "../identifier.ts";
import { accessTokenSeconds, createAccessTokenSigner } from "./access-token.ts";
import { adminRoutes } from "./admin.ts";
import { AuthError, authErrorOf, validationFailed } from "./auth-error.ts";
import { hashPassword, isPassword } from "./passwords.ts";
import { bodies, readBody } from "./requests.ts";
import {
  endSessions,
  findSession,
  invalidCredentials,
  type OpenSession,
  openSession,
  refreshSession,
} from "./sessions.ts";
import { createSignInLimit } from "./sign-in-limit.ts";
import {
  findUserByEmail,
  insertUser,
  isBanned,
  normalizedEmail,
  type UserRow,
  updateUser,
  userJson,
} from "./users.ts";

interface AuthVariables {
  Variables: { requestId: string };
}
type AuthContext = Context<AuthVariables>;

/**
 * The part of GoTrue that `@supabase/supabase-js` needs for people with a password, relative to `/auth/v1`.
 * Emails count as confirmed at once: this host sends none.
 */
export function createAuth(context: HostContext): { app: Hono } {
  const { sql, keys, log } = context;
  const identifier = hostIdentifier(context);
  const signAccessToken = createAccessTokenSigner(context);
  const signInLimit = createSignInLimit({ attempts: 300, windowSeconds: 300 });
  const app = new Hono<AuthVariables>();

  app.use("*", async (c, next) => {
    c.set("requestId", idOf(c.req.raw));
    await next();
    for (const [name, value] of Object.entries(corsHeaders)) c.res.headers.set(name, value);
    c.res.headers.set("x-request-id", c.get("requestId"));
  });

  app.onError((error, c) => {
    const refused = authErrorOf(error);
    if (refused.status === 499) {
      log.info({ request_id: c.get("requestId") }, "client_closed_request");
    } else if (refused.status >= 500) {
      log.error({ request_id: c.get("requestId"), err: refused.cause ?? refused }, "auth request failed");
    }
    const retryAfter = refused.details["retry_after"] ?? (refused.status === 503 ? 1 : undefined);
    if (typeof retryAfter === "number") c.header("retry-after", String(retryAfter));
    return c.json(
      { code: refused.status, error_code: refused.code, msg: refused.message, ...refused.details },
      refused.status as ContentfulStatusCode,
    );
  });

  app.options("*", (c) => {
    c.header("access-control-allow-methods", "GET, POST, PUT, DELETE, OPTIONS");
    return c.body(null, 204);
  });

  // Before the key is asked for: whoever checks signatures needs no account here.
  app.get("/.well-known/jwks.json", (c) => {
    c.header("cache-control", "public, max-age=600");
    return c.json(publicJwks(keys));
  });

  app.use("*", async (c, next) => {
    const key = c.req.header("apikey");
    const identity = key === undefined ? undefined : await knownKey(key);
    if (identity === undefined) {
      throw new AuthError(
        401,
        "no_authorization",
        key === undefined ? "No API key found in request" : "Invalid API key",
      );
    }
    await next();
  });

  async function knownKey(key: string): Promise<true | undefined> {
    try {
      await identifier.identify(new Headers({ apikey: key }));
      return true;
    } catch (error) {
      if (authErrorOf(error).code === "bad_jwt") return undefined;
      throw error;
    }
  }

  app.get("/health", (c) =>
    c.json({ name: "Darkroom auth", version: "1", description: "Speaks as GoTrue to supabase-js" }),
  );

  app.get("/settings", (c) =>
    c.json({
      external: { email: true, phone: false, anonymous_users: false },
      disable_signup: false,
      mailer_autoconfirm: true,
      phone_autoconfirm: false,
      sms_provider: "",
      saml_enabled: false,
    }),
  );

  app.post("/signup", async (c) => {
    countAttempt(c);
    const { email: givenEmail, password, data } = await readBody(c.req.raw, bodies.signUp);
    if (!givenEmail && !password) {
      throw new AuthError(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled");
    }
    if (!givenEmail) throw validationFailed("Signup requires an email");
    if (!password) throw validationFailed("Signup requires a valid password");
    const email = normalizedEmail(givenEmail);
    const passwordHash = await hashPassword(password);
    const opened = await sql.transaction(async (transaction) => {
      // For the limit of welcome bonuses by network: a new person has no session yet.
      await transaction`select set_config('darkroom.client_address', ${addressOf(c) ?? ""}, true)`;
      const { id } = await insertUser(
        transaction,
        { email, passwordHash, confirmed: true, appMetadata: {}, userMetadata: data ?? {} },
        "user_already_exists",
      );
      return await openSession(transaction, { id, passwordHash }, deviceOf(c));
    });
    return c.json(await sessionJson(opened));
  });

  app.post("/token", async (c) => {
    switch (c.req.query("grant_type")) {
      case "password":
        countAttempt(c);
        return c.json(await sessionJson(await signInByPassword(c)));
      case "refresh_token": {
        const { refresh_token: token } = await readBody(c.req.raw, bodies.refreshGrant);
        if (!token) throw validationFailed("refresh_token required");
        return c.json(await sessionJson(await refreshSession(sql, keys.jwtSecret, token)));
      }
      default:
        throw validationFailed("unsupported_grant_type");
    }
  });

  async function signInByPassword(c: AuthContext): Promise<OpenSession> {
    const { email, password } = await readBody(c.req.raw, bodies.passwordGrant);
    if (!email || !password) throw validationFailed("Sign in takes an email and a password");
    const user = await findUserByEmail(sql, email.trim());
    if (!(await isPassword(password, user?.encrypted_password)) || !user) throw invalidCredentials();
    if (isBanned(user)) throw new AuthError(400, "user_banned", "User is banned");
    if (user.email_confirmed_at === null)
      throw new AuthError(400, "email_not_confirmed", "Email not confirmed");
    const { id, encrypted_password: passwordHash } = user;
    return await sql.transaction((transaction) =>
      openSession(transaction, { id, passwordHash }, deviceOf(c)),
    );
  }

  app.get("/user", async (c) => {
    const { user } = await signedIn(c);
    return c.json(userJson(user));
  });

  app.put("/user", async (c) => {
    const { user, sessionId } = await signedIn(c);
    const { email, password, data } = await readBody(c.req.raw, bodies.ownUser);
    if (password !== undefined && (await isPassword(password, user.encrypted_password))) {
      throw new AuthError(422, "same_password", "New password should be different from the old password.");
    }
    const changes = {
      email: email === undefined ? undefined : normalizedEmail(email),
      passwordHash: password === undefined ? undefined : await hashPassword(password),
      userMetadata: data ?? undefined,
    };
    const changed = await sql.transaction(async (transaction) => {
      const updated = await updateUser(transaction, user.id, changes);
      // Whoever knew the old password is not let stay.
      if (password !== undefined) await endSessions(transaction, user.id, "others", sessionId);
      return updated;
    });
    return c.json(userJson(changed));
  });

  app.post("/logout", async (c) => {
    const { user, sessionId } = await signedIn(c);
    const scope = c.req.query("scope") ?? "global";
    if (scope !== "global" && scope !== "local" && scope !== "others") {
      throw validationFailed("scope is global, local or others");
    }
    await endSessions(sql, user.id, scope, sessionId);
    return c.body(null, 204);
  });

  app.route("/admin", adminRoutes(context, identifier));

  for (const path of ["/otp", "/magiclink", "/recover", "/resend", "/verify", "/invite"]) {
    app.all(path, () => {
      throw new AuthError(422, "email_provider_disabled", "This host sends no emails");
    });
  }
  app.all("*", () => {
    throw new AuthError(404, "validation_failed", "There is nothing here");
  });

  /** The user of the bearer token, with the session that it belongs to. */
  async function signedIn(c: AuthContext): Promise<{ user: UserRow; sessionId: string | undefined }> {
    if (!c.req.header("authorization")) {
      throw new AuthError(401, "no_authorization", "This endpoint requires a Bearer token");
    }
    const identity = await identifier.identify(c.req.raw.headers);
    if (identity.kind !== "user") throw new AuthError(403, "bad_jwt", "invalid claim: missing sub claim");
    const found = await findSession(sql, identity.userId, identity.claims["session_id"]);
    if (isBanned(found.user)) throw new AuthError(403, "user_banned", "User is banned");
    return found;
  }

  function countAttempt(c: AuthContext): void {
    const waitSeconds = signInLimit.take(addressOf(c) ?? "unknown");
    if (waitSeconds === 0) return;
    throw new AuthError(429, "over_request_rate_limit", "Request rate limit reached", {
      retry_after: waitSeconds,
    });
  }

  async function sessionJson({ user, session, refreshToken }: OpenSession): Promise<Record<string, unknown>> {
    return {
      access_token: await signAccessToken(user, session),
      token_type: "bearer",
      expires_in: accessTokenSeconds,
      expires_at: Math.floor(Date.now() / 1000) + accessTokenSeconds,
      refresh_token: refreshToken,
      user: userJson(user),
    };
  }

  // Variables of requests are nobody else's.
  return { app: new Hono().route("/", app) };
}

function deviceOf(c: AuthContext): { userAgent: string | undefined; ip: string | undefined } {
  return { userAgent: c.req.header("user-agent"), ip: addressOf(c) };
}

/** Of the socket: a header could name any address. */
function addressOf(c: AuthContext): string | undefined {
  // Without a socket, as when a test calls the app directly, there is none to ask.
  if (!hasSocket(c.env)) return undefined;
  // A zone index ("%eth0") is no part of an address.
  return getConnInfo(c).remote.address?.split("%")[0];
}

function hasSocket(bindings: unknown): boolean {
  return (
    typeof bindings === "object" && bindings !== null && ("incoming" in bindings || "server" in bindings)
  );
}
