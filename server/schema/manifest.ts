import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { projectPath } from "../project-path.ts";
import type { Catalog, Thing } from "./catalog.ts";

/**
 * Everything that the platform's SQL and the migrations make, so that a database can be compared with it. Written by
 * `npm run generate`; `test/rules/manifest.test.ts` holds it against the migrations.
 */
export interface Manifest {
  /** What `server/platform` makes. Supabase has its own, so it is not compared there. */
  platform: ManifestThings;
  migrations: ManifestThings;
}

/** Thing → its state, and a digest of its text where it has one. */
export type ManifestThings = Record<string, [state: string] | [state: string, textDigest: string]>;

const file = "server/schema/manifest.json";

export async function readManifest(): Promise<Manifest> {
  return JSON.parse(await readFile(projectPath(file), "utf8")) as Manifest;
}

/** Of a database before and after its migrations. */
export function makeManifest(before: Catalog, after: Catalog): Manifest {
  const manifest: Manifest = { platform: {}, migrations: {} };
  for (const name of [...after.keys()].toSorted()) {
    const thing = after.get(name);
    if (!thing || !isComparable(name)) continue;
    const known = before.get(name);
    // What a migration changed is the migration's.
    const isPlatform = known?.state === thing.state && known.text === thing.text;
    manifest[isPlatform ? "platform" : "migrations"][name] = entryOf(thing);
  }
  return manifest;
}

/** One line a thing, so that a change of the schema is a small change here. */
export function manifestText({ platform, migrations }: Manifest): string {
  const section = (things: ManifestThings) =>
    Object.entries(things)
      .map(([thing, entry]) => `    ${JSON.stringify(thing)}: ${JSON.stringify(entry)}`)
      .join(",\n");
  return `{\n  "platform": {\n${section(platform)}\n  },\n  "migrations": {\n${section(migrations)}\n  }\n}\n`;
}

export function manifestFile(): string {
  return projectPath(file);
}

export function entryOf({ state, text }: Thing): [string] | [string, string] {
  return text === "" ? [state] : [state, digest(text)];
}

/** Extensions and default privileges are the server's; so are rights of roles that are not the API's. */
function isComparable(thing: string): boolean {
  if (/^(extension|default privileges) /.test(thing)) return false;
  const grantee = /^grant .* to (\S+)$/.exec(thing)?.[1];
  return grantee === undefined || ["public", "anon", "authenticated", "service_role"].includes(grantee);
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, 16);
}
