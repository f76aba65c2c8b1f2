import { callingUser } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { Caller } from "../http/endpoint.ts";

/** Whose account is asked for: people's own; the service says whose. */
export function accountOf(caller: Caller, userId: string | undefined): typeof callingUser | string {
  if (caller.kind !== "service") return callingUser;
  if (userId !== undefined) return userId;
  throw new AppError("invalid_request", { issues: [{ path: "user_id", message: "is required" }] });
}

/** Who names another's account is not shown their own in its place. @throws AppError `forbidden` */
export function assertAsked(asked: string | undefined, shown: string): void {
  if (asked !== undefined && asked.toLowerCase() !== shown) throw new AppError("forbidden");
}
