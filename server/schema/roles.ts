import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import { codeOf } from "../postgres/error-code.ts";
import { projectPath } from "../project-path.ts";
import type { Ask } from "./catalog.ts";

/** A role, an attribute or a membership that the database server lacks. */
export interface RoleFault {
  rule: "role_missing" | "role_without_bypassrls" | "membership_missing";
  row_id: string;
  /** What makes it right, run by somebody who may. */
  statement: string;
}

const attributes = {
  anon: "nologin noinherit",
  authenticated: "nologin noinherit",
  service_role: "nologin noinherit bypassrls",
  authenticator: "login noinherit",
} as const;

const actedAs = ["anon", "authenticated", "service_role"] as const;

/** What is missing of the roles that requests run as. */
export async function findRoleFaults(ask: Ask): Promise<RoleFault[]> {
  const rows = await ask<{ name: string; bypasses: boolean }>(
    "select rolname as name, rolbypassrls as bypasses from pg_catalog.pg_roles" +
      " where rolname in ('anon', 'authenticated', 'service_role', 'authenticator')",
  );
  const faults: RoleFault[] = [];
  const existing = new Map(rows.map(({ name, bypasses }) => [name, bypasses]));
  for (const [name, options] of Object.entries(attributes)) {
    if (!existing.has(name)) {
      faults.push({ rule: "role_missing", row_id: name, statement: `create role ${name} ${options}` });
    }
  }
  if (existing.get("service_role") === false) {
    const statement = "alter role service_role bypassrls";
    faults.push({ rule: "role_without_bypassrls", row_id: "service_role", statement });
  }
  const memberships = await ask<{ role: string; member: string; quoted: string; is_member: boolean }>(`
    select role.rolname as role, member.rolname as member, quote_ident(member.rolname) as quoted,
           pg_has_role(member.oid, role.oid,
             case when member.rolname = current_user and current_setting('server_version_num')::int >= 160000
                  then 'SET' else 'MEMBER' end) as is_member
      from pg_catalog.pg_roles as role, pg_catalog.pg_roles as member
     where role.rolname in ('anon', 'authenticated', 'service_role') and member.rolname in ('authenticator', current_user)`);
  const [me] = await ask<{ quoted: string }>("select quote_ident(current_user) as quoted");
  for (const role of actedAs) {
    for (const member of ["authenticator", me?.quoted ?? "current_user"]) {
      const found = memberships.find((row) => row.role === role && row.quoted === member);
      if (found?.is_member) continue;
      faults.push({
        rule: "membership_missing",
        row_id: `${role} to ${member}`,
        statement: `grant ${role} to ${member}`,
      });
    }
  }
  return faults;
}

/** Makes the roles that are missing. Where the database user may not, the error has the statements for who may. */
export async function ensureRoles(ask: Ask, log: Logger): Promise<void> {
  const faults = await findRoleFaults(ask);
  if (faults.length === 0) return;
  try {
    await ask(await readFile(projectPath("server/platform/00_roles.sql"), "utf8"));
  } catch (error) {
    if (codeOf(error) !== "42501" || !(error instanceof Error)) throw error;
    throw new Error(
      `The database user may not make the roles that Darkroom needs (${error.message}). ` +
        "An administrator of the database server runs these statements once:\n" +
        faults.map(({ statement }) => `  ${statement};\n`).join("") +
        "Then start again. docs/operations.md, PostgreSQL of your own, has the background.",
      { cause: error },
    );
  }
  log.info({ made: faults.map(({ statement }) => statement) }, "roles of the database server made");
}
