import { unstorableValues } from "../../supabase/functions/_shared/http/storable.ts";
import { StorageError } from "./errors.ts";

/** @throws StorageError `InvalidRequest` for values that the database cannot hold, with their place below `where` */
export function requireStorable(where: string, value: unknown): void {
  const [issue] = unstorableValues(value);
  if (!issue) return;
  const place = [where, ...(issue.path === "" ? [] : issue.path.split("."))].join("/");
  throw new StorageError("InvalidRequest", `${place} ${issue.message}`);
}
