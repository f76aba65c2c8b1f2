/**
 * Writes what follows from something else: `npm run generate` all of it, `npm run generate <what>` one thing.
 *
 *   migration [name]   supabase/migrations/<timestamp>_<name>.sql from supabase/schemas
 *   manifest           server/schema/manifest.json, from a database that the migrations make
 *   functions          the entries of supabase/config.toml, from the folders of supabase/functions
 *   documents          docs/http-api.md and docs/errors.md, from the contracts of the endpoints; the families of
 *                      docs/generators.md, from their inputs
 *   fal-shapes         test/support/fake-fal/shapes.json, from the types of FAL's official client
 */
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pino } from "pino";
import { projectPath } from "../server/migrate.ts";
import { lockFolder } from "../server/folder-lock.ts";
import { startEmbeddedPostgres } from "../server/postgres/embedded.ts";
import { manifestFile, manifestText } from "../server/schema/manifest.ts";
import { shapesFile } from "../test/support/fake-fal/shapes.ts";
import { errorsPage, familiesBegin, functionEntries, generatorsPage, httpApiPage } from "./documents.ts";
import { falShapesText, readFalShapes } from "./fal-shapes.ts";
import { manifestOfMigrations } from "./manifest-of-migrations.ts";
import { schemaFiles } from "./schema-files.ts";

const generators: Record<string, (name?: string) => Promise<void>> = {
  migration: generateMigration,
  manifest: generateManifest,
  functions: generateFunctionEntries,
  documents: generateDocuments,
  "fal-shapes": generateFalShapes,
};

const [what, argument] = process.argv.slice(2);
if (what === undefined) {
  for (const generate of Object.values(generators)) await generate();
} else {
  const generate = generators[what];
  if (!generate) {
    console.error(`What to generate? One of: ${Object.keys(generators).join(", ")}.`);
    process.exit(1);
  }
  await generate(argument);
}

/** Until the first release there is one migration, which is the schema as it stands; a name is for a new one. */
async function generateMigration(name?: string): Promise<void> {
  const folder = projectPath("supabase/migrations");
  await mkdir(folder, { recursive: true });
  const existing = (await readdir(folder)).filter((file) => file.endsWith(".sql"));
  const [only] = existing;
  if (existing.length > 1 || (only && name !== undefined && !only.endsWith(`_${name}.sql`))) {
    throw new Error("There is a migration already: what changes existing databases is written by hand.");
  }
  const timestamp = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
  const file = only ?? `${timestamp}_${name ?? "initial"}.sql`;
  await writeFile(path.join(folder, file), await wholeSchema());
  console.log(`supabase/migrations/${file}`);
}

/** Everything in supabase/schemas as one script. */
async function wholeSchema(): Promise<string> {
  const parts = [
    "-- Made from supabase/schemas by `npm run generate`; change those files, not this one.\n" +
      "-- Functions name each other, so their bodies are checked when they are called.\n" +
      "set check_function_bodies = off;\n",
  ];
  for (const file of await schemaFiles()) {
    const shown = path.relative(projectPath(""), file).split(path.sep).join("/");
    parts.push(`-- ${shown}\n${(await readFile(file, "utf8")).trim()}\n`);
  }
  return parts.join("\n");
}

async function generateManifest(): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), "darkroom-generate-"));
  // As root, the server runs as another system user, who must be able to enter.
  await chmod(directory, 0o755);
  const log = pino({ level: "warn" });
  const cluster = await startEmbeddedPostgres({
    directory: path.join(directory, "postgres"),
    lock: await lockFolder(directory),
    settings: { fsync: "off" },
    log,
  });
  try {
    const manifest = await manifestOfMigrations(cluster.url);
    await writeFile(manifestFile(), manifestText(manifest));
    console.log(`server/schema/manifest.json: ${Object.keys(manifest.migrations).length} things`);
  } finally {
    await cluster.stop();
    await rm(cluster.directory, { recursive: true, force: true });
    await rm(directory, { recursive: true, force: true });
  }
}

async function generateFunctionEntries(): Promise<void> {
  const folder = projectPath("supabase/functions");
  const names: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name.startsWith("_")) continue;
    if ((await readdir(path.join(folder, entry.name))).includes("index.ts")) names.push(entry.name);
  }
  const file = projectPath("supabase/config.toml");
  const [written = ""] = (await readFile(file, "utf8")).split(/^\[functions\./m);
  await writeFile(file, `${written.trimEnd()}\n${functionEntries(names)}`);
  console.log(`supabase/config.toml: ${names.length} functions`);
}

async function generateDocuments(): Promise<void> {
  await writeFile(projectPath("docs/http-api.md"), httpApiPage());
  await writeFile(projectPath("docs/errors.md"), errorsPage());
  const generators = projectPath("docs/generators.md");
  const [introduction = ""] = (await readFile(generators, "utf8")).split(familiesBegin);
  await writeFile(generators, generatorsPage(introduction));
  console.log("docs/http-api.md, docs/errors.md, docs/generators.md");
}

async function generateFalShapes(): Promise<void> {
  const shapes = readFalShapes();
  await writeFile(projectPath(shapesFile), falShapesText(shapes));
  console.log(`${shapesFile}: ${Object.keys(shapes.endpoints).length} endpoints`);
}
