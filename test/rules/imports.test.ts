import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { builtinModules } from "node:module";
import { test } from "node:test";
import { projectPath } from "../../server/migrate.ts";
import { assertNone } from "./assert-none.ts";
import { filesBelow, type Import, importsOf, textOf } from "./sources.ts";

/**
 * Who may import whom in `supabase/functions`: the parts of `_shared`, and `entry` and `endpoint` for the two
 * files of an endpoint's folder. What is not here is not allowed; `type` allows types alone, and a file instead
 * of a part allows that file.
 */
const allowed: Record<string, readonly string[]> = {
  entry: ["its endpoint", "http", "runtime"],
  endpoint: ["http", "errors", "room"],
  runtime: [
    // What a worker in a function calls, without the network.
    "endpoint",
    "http",
    "auth",
    "billing",
    "database",
    "limits",
    "media",
    "observability",
    "prompts",
    "providers",
    "waiting",
    "webhooks",
  ],
  http: [
    "auth",
    "errors",
    "database",
    "type billing",
    "type prompts",
    "type providers",
    "type limits",
    "type media",
    "type observability",
    "type waiting",
    "type webhooks",
  ],
  auth: ["errors", "tokens/token-format.ts"],
  database: ["errors"],
  limits: [],
  waiting: [],
  observability: [],
  outgoing: [],
  errors: [],
};

/** What every room may import; of `http`, who calls and the shapes that bodies share. */
const everyRoom = ["database", "errors", "http/endpoint.ts", "http/fields.ts", "type waiting"];

/** Rooms, and the few other rooms that each rests on. */
const rooms: Record<string, readonly string[]> = {
  accounts: [],
  tasks: ["media", "pictures/limits.ts"],
  workers: [],
  credits: [],
  billing: ["type observability"],
  tokens: [],
  generations: [],
  media: [],
  prompts: ["credits", "media", "outgoing/target.ts", "type observability"],
  providers: ["media", "outgoing", "tasks", "worker"],
  // What a worker process and a function run alike.
  worker: ["media", "outgoing", "pictures", "providers"],
  // A family answers what its tasks come to.
  generators: ["credits/amount-shapes.ts", "pictures/limits.ts"],
  // What models of pictures take: read where tasks are created, and where they are run.
  pictures: [],
  realtime: [],
  webhooks: ["outgoing"],
};

/** The folders of the project, and the ones each may import. Tests may import anything. */
const allowedFolders: Record<string, readonly string[]> = {
  supabase: ["supabase"],
  // What is said to a provider, and fetched from it, is the same in a worker and behind a webhook.
  worker: [
    "worker",
    "supabase/functions/_shared/worker/",
    "supabase/functions/_shared/outgoing/",
    // What a file must be before it is read, in the sandbox as at a completion.
    "supabase/functions/_shared/media/content-type.ts",
    "supabase/functions/_shared/media/file-parts.ts",
    "supabase/functions/_shared/media/media-file.ts",
    "supabase/functions/_shared/media/picture-size.ts",
    "supabase/functions/_shared/pictures/",
    "supabase/functions/_shared/providers/fal-access.ts",
    "supabase/functions/_shared/providers/fal-fault.ts",
    "supabase/functions/_shared/providers/fal-queue.ts",
    "supabase/functions/_shared/providers/fal-result.ts",
    "supabase/functions/_shared/providers/variables.ts",
    "supabase/functions/_shared/providers/withdrawals.ts",
  ],
  server: ["server", "supabase", "worker"],
  scripts: ["scripts", "server", "supabase", "test"],
  examples: ["examples"],
  campaigns: ["campaigns", "server", "supabase", "test"],
};

const packageFile = JSON.parse(textOf("package.json")) as {
  dependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
};
const denoFile = JSON.parse(textOf("supabase/functions/deno.json")) as { imports: Record<string, string> };

const sources = Object.keys(allowedFolders)
  .flatMap((folder) => filesBelow(folder, ".ts"))
  .filter((file) => !isTest(file));
const imports: (Import & { from: string })[] = sources.flatMap((from) =>
  importsOf(from).map((imported) => ({ ...imported, from })),
);
const shared = imports.filter(({ from }) => from.startsWith("supabase/functions/"));

test("imports go down: entry, endpoint, room, database", () => {
  assert.ok(shared.length > 50, "the imports were found");
  const faults = shared
    .filter((edge) => edge.file !== undefined && !isAllowed(edge.from, edge.file, edge.isType))
    .map(({ from, file, isType }) => `${from} → ${isType ? "type " : ""}${file}`);
  assertNone(faults, "Not in the table of this test:");
});

test("the table of directions forbids what looks back up", () => {
  const forbidden: [string, string][] = [
    ["create-task/index.ts", "_shared/tasks/create-task.ts"],
    ["create-task/index.ts", "grant-credits/endpoint.ts"],
    ["create-task/endpoint.ts", "_shared/database/database.ts"],
    ["create-task/endpoint.ts", "grant-credits/endpoint.ts"],
    ["_shared/tasks/create-task.ts", "_shared/http/bind.ts"],
    ["_shared/tasks/create-task.ts", "_shared/credits/grant-credits.ts"],
    ["_shared/tasks/create-task.ts", "create-task/endpoint.ts"],
    ["_shared/http/bind.ts", "_shared/tasks/create-task.ts"],
    ["_shared/http/bind.ts", "_shared/media/storage.ts"],
    ["_shared/database/database.ts", "_shared/http/endpoint.ts"],
    ["_shared/errors/app-error.ts", "_shared/http/endpoint.ts"],
    ["_shared/unheard-of/file.ts", "_shared/errors/app-error.ts"],
  ];
  for (const [from, to] of forbidden) {
    const [source, target] = [`supabase/functions/${from}`, `supabase/functions/${to}`];
    assert.equal(isAllowed(source, target, false), false, `${from} → ${to}`);
  }
});

test("no file imports itself by way of others", () => {
  const targets = new Map<string, string[]>();
  for (const { from, file, isType } of imports) {
    if (file !== undefined && !isType) targets.set(from, [...(targets.get(from) ?? []), file]);
  }
  const finished = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" → "));
    if (finished.has(file) || path.includes(file)) return;
    for (const target of targets.get(file) ?? []) visit(target, [...path, file]);
    finished.add(file);
  };
  for (const file of targets.keys()) visit(file, []);
  assertNone(circles, "These import each other:");
});

test("the server imports everything and nobody imports the server", () => {
  const faults = imports
    .filter(({ from, file }) => {
      if (file === undefined) return false;
      const allowed = allowedFolders[topFolder(from)] ?? [];
      return !allowed.some((place) => `${file}/`.startsWith(`${place.replace(/\/$/, "")}/`)) || isTest(file);
    })
    .map(({ from, file }) => `${from} → ${file}`);
  assertNone(faults, "Shared code is in supabase/functions/_shared; the worker knows HTTP alone:");
});

test("imports name files with their extension, and packages without a registry", () => {
  const faults = imports
    .filter(({ specifier, file }) => {
      if (file !== undefined) return !/\.(m?ts|mjs|json)$/.test(file) || !existsSync(projectPath(file));
      return /^(jsr|npm|https?|file|data):|^\//.test(specifier);
    })
    .map(({ from, specifier }) => `${from} imports "${specifier}"`);
  assertNone(faults, 'Write "./file.ts", "package" or "node:module":');
});

test("each third-party package of the functions is imported by one file", () => {
  const importers = new Map<string, Set<string>>();
  for (const { from, specifier, file, isType } of shared) {
    if (file !== undefined || specifier.startsWith("node:")) continue;
    assert.ok(!builtinModules.includes(specifier), `${from} imports "${specifier}" without node:`);
    const name = packageOf(specifier);
    // Shapes are written where they are used; their types go anywhere.
    if (name === "zod" && (isType || /\/endpoint\.ts$|\/_shared\//.test(from))) continue;
    importers.set(name, (importers.get(name) ?? new Set()).add(from));
  }
  const faults = [...importers]
    .filter(([, files]) => files.size > 1)
    .map(([name, files]) => `${name}: ${[...files].join(", ")}`);
  assertNone(faults, "Give the package one file, which the others import:");
});

test("Deno and Node run the same versions of the packages that the functions import", () => {
  const used = new Set(
    shared
      .filter(({ file, specifier }) => file === undefined && !specifier.startsWith("node:"))
      .map(({ specifier }) => specifier),
  );
  const faults = [...new Set([...used, ...Object.keys(denoFile.imports)])].sort().flatMap((name) => {
    const [library, subpath] = [packageOf(name), name.slice(packageOf(name).length)];
    const ours = packageFile.dependencies[library];
    const theirs = denoFile.imports[name];
    if (!used.has(name)) return [`${name} is in deno.json and imported by nothing`];
    if (ours === undefined) return [`${library} is not in package.json`];
    return theirs === `npm:${library}@${ours}${subpath}`
      ? []
      : [`${name}: ${ours} in package.json, ${theirs} in deno.json`];
  });
  assertNone(faults, "supabase/functions/deno.json and package.json disagree:");
});

function isAllowed(from: string, to: string, isType: boolean): boolean {
  if (!to.startsWith("supabase/functions/")) return false;
  const [source, target] = [partOf(from), partOf(to)];
  if (source === target && source !== "entry" && source !== "endpoint") return true;
  if (source === "entry" && target === "endpoint") return folderOf(from) === folderOf(to);
  const own = source in rooms ? [...everyRoom, ...(rooms[source] ?? [])] : allowed[source];
  return (own ?? []).some((entry) => {
    if (entry.startsWith("type ") && !isType) return false;
    const part = entry.replace("type ", "");
    if (part.includes("/")) return to === `supabase/functions/_shared/${part}`;
    return part === "room" ? target in rooms : part === target;
  });
}

/** `entry`, `endpoint`, or the folder of `_shared`. */
function partOf(file: string): string {
  const [, , folder = "", inside = ""] = file.split("/");
  if (folder === "_shared") return inside;
  if (inside === "index.ts") return "entry";
  return inside === "endpoint.ts" ? "endpoint" : file;
}

/** Tests, and what they start, beside what they test. */
function isTest(file: string): boolean {
  return /\.test\.ts$|-under-test\.ts$|-for-tests\.ts$/.test(file);
}

function folderOf(file: string): string {
  return file.slice(0, file.lastIndexOf("/"));
}

function topFolder(file: string): string {
  return file.slice(0, file.indexOf("/"));
}

function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}
