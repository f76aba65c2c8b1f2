import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { projectPath } from "../server/migrate.ts";

/** The files of `supabase/schemas`, as absolute paths, in the order that `supabase/config.toml` names them. */
export async function schemaFiles(): Promise<string[]> {
  const folder = projectPath("supabase");
  const config = await readFile(path.join(folder, "config.toml"), "utf8");
  const list = /^schema_paths = \[([^\]]*)\]/m.exec(config)?.[1];
  if (list === undefined) throw new Error("supabase/config.toml has no schema_paths.");
  const patterns = [...list.matchAll(/"([^"]+)"/g)].map((match) => path.join(folder, match[1] ?? ""));
  const files = await Promise.all(patterns.map(matchingFiles));
  return [...new Set(files.flat())];
}

/** Files that a path names, sorted; only its last part may hold a `*`. */
async function matchingFiles(pattern: string): Promise<string[]> {
  const folder = path.dirname(pattern);
  const [before = "", after] = path.basename(pattern).split("*");
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names
    .filter((name) =>
      after === undefined ? name === before : name.startsWith(before) && name.endsWith(after),
    )
    .sort()
    .map((name) => path.join(folder, name));
}
