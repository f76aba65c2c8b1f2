import { Hono } from "hono";
import type { Identifier } from "../../supabase/functions/_shared/auth/identify.ts";
import type { HostContext } from "../context.ts";
import { AuthError, validationFailed } from "./auth-error.ts";
import { hashPassword } from "./passwords.ts";
import { bodies, endOfBan, pageNumber, readBody } from "./requests.ts";
import { endSessions } from "./sessions.ts";
import {
  deleteUser,
  findUser,
  insertUser,
  isUuid,
  listUsers,
  normalizedEmail,
  updateUser,
  userJson,
  userNotFound,
} from "./users.ts";

/** Users as the service manages them: with the service key alone. */
export function adminRoutes({ sql, apiUrl }: HostContext, identifier: Identifier): Hono {
  const app = new Hono();

  app.use("*", async (c, next) => {
    const { kind } = await identifier.identify(c.req.raw.headers);
    if (kind !== "service") throw new AuthError(403, "not_admin", "User not allowed");
    await next();
  });

  app.post("/users", async (c) => {
    const body = await readBody(c.req.raw, bodies.newUser);
    const email = normalizedEmail(body.email);
    const passwordHash = body.password === undefined ? undefined : await hashPassword(body.password);
    const user = await sql.transaction((transaction) =>
      insertUser(
        transaction,
        {
          id: body.id,
          email,
          passwordHash,
          confirmed: body.email_confirm ?? false,
          appMetadata: body.app_metadata ?? {},
          userMetadata: body.user_metadata ?? {},
          bannedUntil: endOfBan(body.ban_duration),
        },
        "email_exists",
      ),
    );
    return c.json(userJson(user));
  });

  app.get("/users", async (c) => {
    const page = pageNumber(c.req.query("page"), 1, 1_000_000);
    const perPage = pageNumber(c.req.query("per_page"), 50, 1_000);
    const { users, total } = await listUsers(sql, { page, perPage });
    const lastPage = Math.max(1, Math.ceil(total / perPage));
    const link = (to: number, rel: string) =>
      `<${apiUrl}/auth/v1/admin/users?page=${to}&per_page=${perPage}>; rel="${rel}"`;
    c.header("x-total-count", String(total));
    c.header(
      "link",
      [...(page < lastPage ? [link(page + 1, "next")] : []), link(lastPage, "last")].join(", "),
    );
    return c.json({ users: users.map(userJson), aud: "authenticated" });
  });

  app.get("/users/:id", async (c) => {
    const user = await findUser(sql, c.req.param("id"));
    if (!user) throw userNotFound();
    return c.json(userJson(user));
  });

  app.put("/users/:id", async (c) => {
    const id = c.req.param("id");
    if (!isUuid(id)) throw userNotFound();
    const body = await readBody(c.req.raw, bodies.changedUser);
    const changes = {
      email: body.email === undefined ? undefined : normalizedEmail(body.email),
      passwordHash: body.password === undefined ? undefined : await hashPassword(body.password),
      confirm: body.email_confirm,
      appMetadata: body.app_metadata ?? undefined,
      userMetadata: body.user_metadata ?? undefined,
      bannedUntil: endOfBan(body.ban_duration),
    };
    const user = await sql.transaction(async (transaction) => {
      const updated = await updateUser(transaction, id, changes);
      if (changes.passwordHash !== undefined) await endSessions(transaction, id, "global", undefined);
      return updated;
    });
    return c.json(userJson(user));
  });

  app.delete("/users/:id", async (c) => {
    const { should_soft_delete: soft } = await readBody(c.req.raw, bodies.deletion);
    if (soft) throw validationFailed("Users are deleted whole here, or not at all");
    await deleteUser(sql, c.req.param("id"));
    return c.json({});
  });

  return app;
}
