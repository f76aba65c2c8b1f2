import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { compare } from "bcryptjs";
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import { type DatabaseUnderTest, withDatabase } from "../../test/support/database.ts";
import { createAuth } from "./auth.ts";
import { type ServedForTests, withServed } from "./serve-for-tests.ts";

const password = "correct horse";

function authTest(
  name: string,
  body: (served: ServedForTests & { database: DatabaseUnderTest }) => Promise<void>,
): void {
  test(name, () =>
    withDatabase((database) =>
      withServed(
        database,
        (app, context) => app.route("/auth/v1", createAuth(context).app),
        (served) => body({ ...served, database }),
      ),
    ),
  );
}

async function signUp({ client, context }: ServedForTests, email = "ada@example.com") {
  const supabase = client(context.keys.anonKey);
  const { data, error } = await supabase.auth.signUp({ email, password, options: { data: { name: "Ada" } } });
  assert.equal(error, null);
  assert.ok(data.session && data.user);
  return { supabase, session: data.session, user: data.user };
}

async function request(
  { url, context }: ServedForTests,
  method: string,
  path: string,
  { body, token, key = context.keys.anonKey }: { body?: unknown; token?: string; key?: string | null } = {},
) {
  const response = await fetch(`${url}/auth/v1${path}`, {
    method,
    headers: {
      "content-type": "application/json",
      ...(key === null ? {} : { apikey: key }),
      ...(token ? { authorization: `Bearer ${token}` } : {}),
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { response, status: response.status, json: (text ? JSON.parse(text) : null) as Answer };
}

interface Answer extends Record<string, unknown> {
  error_code?: string;
  refresh_token?: string;
  access_token?: string;
}

function refresh(served: ServedForTests, token: string) {
  return request(served, "POST", "/token?grant_type=refresh_token", { body: { refresh_token: token } });
}

authTest("signUp() gives a confirmed user and a session that the JWKS proves", async (served) => {
  const { session, user, supabase } = await signUp(served, "  Ada@Example.COM ");
  assert.equal(user.email, "ada@example.com");
  assert.ok(user.email_confirmed_at);
  assert.deepEqual(user.user_metadata, { name: "Ada" });
  assert.deepEqual(user.app_metadata, { provider: "email", providers: ["email"] });
  assert.equal(session.token_type, "bearer");
  assert.equal(session.expires_in, 3600);

  const { json: jwks } = await request(served, "GET", "/.well-known/jwks.json", { key: null });
  assert.ok(!JSON.stringify(jwks).includes('"d"'), "the private half stays here");
  const { payload, protectedHeader } = await jwtVerify(
    session.access_token,
    createLocalJWKSet(jwks as unknown as JSONWebKeySet),
    { issuer: `${served.url}/auth/v1`, audience: "authenticated" },
  );
  assert.equal(protectedHeader.alg, "ES256");
  assert.equal(payload.sub, user.id);
  assert.equal(payload["role"], "authenticated");
  assert.equal(payload["email"], "ada@example.com");
  assert.equal(payload["aal"], "aal1");
  assert.match(String(payload["session_id"]), /^[0-9a-f-]{36}$/);
  assert.equal((payload.exp ?? 0) - (payload.iat ?? 0), 3600);

  const { data, error } = await supabase.auth.getClaims();
  assert.equal(error, null);
  assert.equal(data?.claims.sub, user.id);
});

authTest("signUp() keeps no password and no refresh token, only what proves them", async (served) => {
  const { session, user } = await signUp(served);
  const [row] = await served.database.sql<{ encrypted_password: string }[]>`
    select encrypted_password from auth.users where id = ${user.id}`;
  assert.match(row?.encrypted_password ?? "", /^\$2[aby]\$10\$/);
  assert.ok(await compare(password, row?.encrypted_password ?? ""));
  const tokens = await served.database.sql<{ token_hash: Uint8Array }[]>`
    select token_hash from auth.refresh_tokens`;
  assert.deepEqual(
    tokens.map(({ token_hash: hash }) => Buffer.from(hash).toString("hex")),
    [createHash("sha256").update(session.refresh_token).digest("hex")],
  );
  assert.equal(Buffer.from(session.refresh_token, "base64url").length, 32);
});

authTest("signUp() refuses a taken email, however it is spelled", async (served) => {
  await signUp(served);
  const { error } = await served
    .client(served.context.keys.anonKey)
    .auth.signUp({ email: "ADA@example.com", password });
  assert.equal(error?.code, "user_already_exists");
  assert.equal(error?.status, 422);
});

authTest("signUp() makes one user when two ask for an email at once", async (served) => {
  const answers = await Promise.all(
    [1, 2].map(() => request(served, "POST", "/signup", { body: { email: "two@example.com", password } })),
  );
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 422]);
});

authTest("signUp() refuses what is no email, no password, or too much of one", async (served) => {
  const refused = async (body: unknown) => {
    const { status, json } = await request(served, "POST", "/signup", { body });
    return `${status} ${json.error_code}`;
  };
  const email = "eve@example.com";
  assert.equal(await refused({ email: "eve", password }), "400 validation_failed");
  assert.equal(await refused({ email: "eve@", password }), "400 validation_failed");
  assert.equal(await refused({ email: "a b@example.com", password }), "400 validation_failed");
  assert.equal(await refused({ email: `${"e".repeat(250)}@example.com`, password }), "400 validation_failed");
  assert.equal(await refused({ email: "e\u0000@example.com", password }), "400 validation_failed");
  assert.equal(await refused({ email }), "400 validation_failed");
  assert.equal(await refused({ email: 7, password }), "400 validation_failed");
  assert.equal(await refused({ email, password: "short" }), "422 weak_password");
  assert.equal(await refused({ email, password: "x".repeat(73) }), "400 validation_failed");
  assert.equal(await refused({ email, password: "ä".repeat(37) }), "400 validation_failed");
  assert.equal(await refused({ email, password, data: { a: "x".repeat(5000) } }), "400 validation_failed");
  assert.equal(await refused({ email, password, data: { a: "\u0000" } }), "400 validation_failed");
  assert.equal(await refused({ email, password, data: [] }), "400 validation_failed");
  assert.equal(await refused({}), "422 anonymous_provider_disabled");
  assert.equal(await refused("not json"), "400 bad_json");
  assert.equal(await refused({ email, password: "x".repeat(70_000) }), "413 validation_failed");
  assert.equal((await served.database.sql`select from auth.users`).length, 0);
});

authTest("every path but the JWKS asks for a key of the project", async (served) => {
  for (const path of ["/settings", "/health", "/user", "/nothing"]) {
    const { status, json } = await request(served, "GET", path, { key: null });
    assert.equal(status, 401, path);
    assert.equal(json.error_code, "no_authorization");
    assert.equal((await request(served, "GET", path, { key: "made-up" })).status, 401, path);
  }
  const { keys } = served.context;
  for (const key of [keys.anonKey, keys.publishableKey, keys.serviceRoleKey, keys.secretKey]) {
    assert.equal((await request(served, "GET", "/settings", { key })).status, 200);
  }
  assert.equal((await request(served, "GET", "/nothing")).status, 404);
});

authTest("signInWithPassword() tells a wrong password and a stranger the same", async (served) => {
  await signUp(served);
  const { supabase } = { supabase: served.client(served.context.keys.publishableKey) };
  const { data, error } = await supabase.auth.signInWithPassword({ email: "Ada@example.com", password });
  assert.equal(error, null);
  assert.equal(data.user?.email, "ada@example.com");
  assert.ok(data.user?.last_sign_in_at);

  const wrong = await request(served, "POST", "/token?grant_type=password", {
    body: { email: "ada@example.com", password: "wrong one" },
  });
  const stranger = await request(served, "POST", "/token?grant_type=password", {
    body: { email: "nobody@example.com", password: "wrong one" },
  });
  assert.equal(wrong.status, 400);
  assert.equal(wrong.json.error_code, "invalid_credentials");
  assert.deepEqual(stranger.json, wrong.json);
});

authTest("signInWithPassword() takes no longer or shorter for a stranger", async (served) => {
  await signUp(served);
  const median = async (email: string) => {
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      const start = performance.now();
      await request(served, "POST", "/token?grant_type=password", { body: { email, password: "wrong one" } });
      times.push(performance.now() - start);
    }
    return times.sort((a, b) => a - b)[2] ?? 0;
  };
  const [known, unknown] = [await median("ada@example.com"), await median("nobody@example.com")];
  // bcrypt takes tens of milliseconds: without it for strangers the ratio would be above 5.
  assert.ok(known / unknown < 2.5 && unknown / known < 2.5, `${known} ms against ${unknown} ms`);
});

authTest("a password of more than 72 bytes never opens what its beginning would", async (served) => {
  const longest = "p".repeat(72);
  const supabase = served.client(served.context.keys.anonKey);
  await supabase.auth.signUp({ email: "long@example.com", password: longest });
  const attempt = async (given: string) =>
    (await supabase.auth.signInWithPassword({ email: "long@example.com", password: given })).error?.code;
  assert.equal(await attempt(longest), undefined);
  assert.equal(await attempt(`${longest}p`), "invalid_credentials");
});

authTest("refreshSession() replaces both tokens and keeps the session", async (served) => {
  const { supabase, session, user } = await signUp(served);
  const { data, error } = await supabase.auth.refreshSession();
  assert.equal(error, null);
  assert.equal(data.user?.id, user.id);
  assert.notEqual(data.session?.refresh_token, session.refresh_token);
  const again = await supabase.auth.refreshSession();
  assert.equal(again.error, null);
  assert.notEqual(again.data.session?.refresh_token, data.session?.refresh_token);
  const [count] = await served.database.sql<{ sessions: number; tokens: number }[]>`
    select (select count(*)::int from auth.sessions) as sessions,
           (select count(*)::int from auth.refresh_tokens where not revoked) as tokens`;
  assert.deepEqual(count, { sessions: 1, tokens: 1 });
});

authTest("two tabs that refresh one token get the same next one", async (served) => {
  const { session } = await signUp(served);
  const first = await refresh(served, session.refresh_token);
  const second = await refresh(served, session.refresh_token);
  assert.equal(second.status, 200);
  assert.equal(second.json.refresh_token, first.json.refresh_token);
  // Even when one of them has gone on since.
  const third = await refresh(served, first.json.refresh_token ?? "");
  const late = await refresh(served, session.refresh_token);
  assert.equal(late.json.refresh_token, third.json.refresh_token);
});

authTest("refreshes at once leave one live token, in the order a lock sets", async (served) => {
  const { session } = await signUp(served);
  const holder = await served.database.session();
  await holder.query("begin");
  await holder.query("select from auth.sessions for update");
  const refreshing = Promise.all(Array.from({ length: 5 }, () => refresh(served, session.refresh_token)));
  // All five wait for the row before any of them goes on.
  const waiting =
    "select count(*)::int as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
  const watcher = await served.database.session();
  while ((await watcher.query<{ waiting: number }>(waiting)).rows[0]?.waiting !== 5);
  await holder.query("commit");

  const answers = await refreshing;
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  assert.equal(new Set(answers.map(({ json }) => json.refresh_token)).size, 1);
  const rows = await served.database.sql<{ revoked: boolean; parent_id: string | null }[]>`
    select revoked, parent_id from auth.refresh_tokens order by id`;
  assert.deepEqual(
    rows.map(({ revoked, parent_id: parent }) => [revoked, parent !== null]),
    [
      [true, false],
      [false, true],
    ],
  );
});

authTest("an old refresh token that comes back ends its session for both", async (served) => {
  const { session } = await signUp(served);
  const { json } = await refresh(served, session.refresh_token);
  await served.database
    .sql`update auth.refresh_tokens set updated_at = now() - interval '11 seconds' where revoked`;
  const stolen = await refresh(served, session.refresh_token);
  assert.equal(stolen.status, 400);
  assert.equal(stolen.json.error_code, "refresh_token_already_used");
  const owner = await refresh(served, json.refresh_token ?? "");
  assert.equal(owner.json.error_code, "refresh_token_already_used");
  const { json: user, status } = await request(served, "GET", "/user", { token: session.access_token });
  assert.equal(status, 403);
  assert.equal(user.error_code, "session_not_found");
});

authTest("a refresh token nobody issued is not found", async (served) => {
  await signUp(served);
  for (const token of ["x", "' or true --", "\u0000", "x".repeat(1000)]) {
    const { status, json } = await refresh(served, token);
    assert.equal(status, 400);
    assert.equal(json.error_code, "refresh_token_not_found");
  }
  assert.equal((await refresh(served, "")).json.error_code, "validation_failed");
});

authTest("getUser() knows its user, and no other token", async (served) => {
  const { supabase, user, session } = await signUp(served);
  const { data } = await supabase.auth.getUser();
  assert.equal(data.user?.id, user.id);
  assert.equal(data.user?.identities?.[0]?.provider, "email");

  const asked = async (token: string | undefined) => {
    const { status, json } = await request(served, "GET", "/user", token === undefined ? {} : { token });
    return `${status} ${json.error_code}`;
  };
  assert.equal(await asked(undefined), "401 no_authorization");
  assert.equal(await asked(`${session.access_token}x`), "403 bad_jwt");
  assert.equal(await asked(served.context.keys.anonKey), "403 bad_jwt");
  assert.equal(await asked(served.context.keys.serviceRoleKey), "403 bad_jwt");
});

authTest("signOut() ends all sessions, this one, or the others", async (served) => {
  const { session } = await signUp(served);
  const signIn = async () => {
    const supabase = served.client(served.context.keys.anonKey);
    const { data } = await supabase.auth.signInWithPassword({ email: "ada@example.com", password });
    return { supabase, token: data.session?.access_token ?? "" };
  };
  const [phone, laptop] = [await signIn(), await signIn()];
  const alive = async (token: string) => (await request(served, "GET", "/user", { token })).status === 200;

  assert.equal((await phone.supabase.auth.signOut({ scope: "local" })).error, null);
  assert.deepEqual([await alive(phone.token), await alive(laptop.token)], [false, true]);
  assert.equal((await laptop.supabase.auth.signOut({ scope: "others" })).error, null);
  assert.deepEqual([await alive(session.access_token), await alive(laptop.token)], [false, true]);
  assert.equal((await laptop.supabase.auth.signOut()).error, null);
  assert.equal(await alive(laptop.token), false);

  const { json, status } = await request(served, "GET", "/user", { token: laptop.token });
  assert.equal(status, 403);
  assert.equal(json.error_code, "session_not_found");
  assert.equal((await refresh(served, session.refresh_token)).json.error_code, "refresh_token_not_found");
  const logout = await request(served, "POST", "/logout?scope=everything", { token: (await signIn()).token });
  assert.equal(logout.json.error_code, "validation_failed");
});

authTest("updateUser() merges metadata, and a new password ends the other sessions", async (served) => {
  const { supabase, session } = await signUp(served);
  const other = served.client(served.context.keys.anonKey);
  const signedIn = await other.auth.signInWithPassword({ email: "ada@example.com", password });

  const merged = await supabase.auth.updateUser({ data: { theme: "dark", name: null } });
  assert.deepEqual(merged.data.user?.user_metadata, { theme: "dark" });
  const same = await supabase.auth.updateUser({ password });
  assert.equal(same.error?.code, "same_password");
  assert.equal((await supabase.auth.updateUser({ password: "another horse" })).error, null);

  const alive = async (token = "") => (await request(served, "GET", "/user", { token })).status;
  assert.deepEqual(
    [await alive(session.access_token), await alive(signedIn.data.session?.access_token)],
    [200, 403],
  );
  const old = await other.auth.signInWithPassword({ email: "ada@example.com", password });
  assert.equal(old.error?.code, "invalid_credentials");
});

authTest("updateUser() changes the email to one that is free", async (served) => {
  await signUp(served, "taken@example.com");
  const { supabase } = await signUp(served);
  assert.equal((await supabase.auth.updateUser({ email: "Taken@example.com" })).error?.code, "email_exists");
  const { data } = await supabase.auth.updateUser({ email: "lovelace@example.com" });
  assert.equal(data.user?.email, "lovelace@example.com");
});

authTest("admin: the service makes, reads, changes, bans and deletes users", async (served) => {
  const { keys } = served.context;
  const { admin } = served.client(keys.serviceRoleKey).auth;
  const email = "grace@example.com";
  const created = await admin.createUser({ email, password, user_metadata: { rank: "admiral" } });
  assert.equal(created.error, null);
  const id = created.data.user?.id ?? "";
  assert.equal(created.data.user?.user_metadata["rank"], "admiral");
  assert.equal((await admin.createUser({ email })).error?.code, "email_exists");

  const visitor = served.client(keys.anonKey);
  const signIn = async () => (await visitor.auth.signInWithPassword({ email, password })).error?.code;
  assert.equal(await signIn(), "email_not_confirmed");
  await admin.updateUserById(id, { email_confirm: true });
  assert.equal(await signIn(), undefined);
  await admin.updateUserById(id, { ban_duration: "24h" });
  assert.equal(await signIn(), "user_banned");
  assert.equal((await visitor.auth.refreshSession()).error?.code, "user_banned");
  await admin.updateUserById(id, { ban_duration: "none", app_metadata: { plan: "pro" } });
  assert.equal(await signIn(), undefined);

  assert.equal((await admin.getUserById(id)).data.user?.app_metadata["plan"], "pro");
  assert.equal((await admin.getUserById(crypto.randomUUID())).error?.code, "user_not_found");
  await signUp(served);
  const list = await admin.listUsers({ page: 1, perPage: 1 });
  assert.equal(list.error, null);
  assert.equal(list.data.users.length, 1);
  assert.equal("total" in list.data && list.data.total, 2);
  assert.equal("nextPage" in list.data && list.data.nextPage, 2);
});

authTest("admin: a deleted user is gone, with every session", async (served) => {
  // Records that other rooms make for a user may be ones that must be kept.
  await served.database.sql`alter table auth.users disable trigger user`;
  const { user, session } = await signUp(served);
  const { admin } = served.client(served.context.keys.secretKey).auth;
  assert.equal((await admin.deleteUser(user.id, true)).error?.code, "validation_failed");
  assert.equal((await admin.deleteUser(user.id)).error, null);
  const { json } = await request(served, "GET", "/user", { token: session.access_token });
  assert.equal(json.error_code, "user_not_found");
  assert.equal((await refresh(served, session.refresh_token)).json.error_code, "refresh_token_not_found");
  assert.equal((await admin.deleteUser(user.id)).error?.code, "user_not_found");
});

authTest("admin: a user with records that must be kept stays", async (served) => {
  const { user } = await signUp(served);
  await served.database.sql`create table public.receipts as select id as user_id from auth.users`;
  await served.database.sql`alter table public.receipts add foreign key (user_id) references auth.users`;
  const { admin } = served.client(served.context.keys.secretKey).auth;
  assert.equal((await admin.deleteUser(user.id)).error?.code, "conflict");
  assert.equal((await admin.getUserById(user.id)).error, null);
});

authTest("admin: nobody but the service is let in", async (served) => {
  const { session, user } = await signUp(served);
  for (const token of [undefined, session.access_token, served.context.keys.anonKey]) {
    for (const [method, path] of [
      ["GET", "/admin/users"],
      ["POST", "/admin/users"],
      ["DELETE", `/admin/users/${user.id}`],
    ] as const) {
      const { status, json } = await request(served, method, path, token === undefined ? {} : { token });
      assert.equal(status, 403);
      assert.equal(json.error_code, "not_admin");
    }
  }
});

authTest("too many sign-ins from one address have to wait", async (served) => {
  // Without a password they cost nothing, and count all the same.
  for (let attempt = 0; attempt < 300; attempt++) {
    await request(served, "POST", "/token?grant_type=password", { body: {} });
  }
  const { status, json, response } = await request(served, "POST", "/token?grant_type=password", {
    body: {},
  });
  assert.equal(status, 429);
  assert.equal(json.error_code, "over_request_rate_limit");
  assert.ok(Number(response.headers.get("retry-after")) > 0);
});

authTest("browsers may call from anywhere, and see why they were refused", async (served) => {
  const preflight = await fetch(`${served.url}/auth/v1/token`, { method: "OPTIONS" });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get("access-control-allow-origin"), "*");
  const { response } = await request(served, "GET", "/user", { key: null });
  assert.equal(response.headers.get("access-control-allow-origin"), "*");
  assert.ok(response.headers.get("x-request-id"));
});
