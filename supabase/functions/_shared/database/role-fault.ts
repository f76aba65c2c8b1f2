/** Roles that requests run as. A server that lacks one, or may not act as it, is not set up: callers cannot help that. */
const roles = /\b(anon|authenticated|service_role)\b/;

/**
 * Whether PostgreSQL refused the role of a statement, not the statement: the role does not exist (22023 when it is
 * set, 42704 when it is named), or the database user may not act as it (42501). By the role's name, because the
 * message is in the server's language.
 */
export function isRoleFault(error: unknown): boolean {
  if (!(error instanceof Error) || !("code" in error)) return false;
  if (error.code !== "22023" && error.code !== "42501" && error.code !== "42704") return false;
  // A time zone or a type that a caller made up may be called like a role.
  return roles.test(error.message) && !/TimeZone|^type /.test(error.message);
}
