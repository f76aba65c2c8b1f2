/**
 * Serves every function of `supabase/functions` on one port, as the edge runtime of Supabase does. Run by
 * Deno; says on its first line which port. Each `index.ts` is imported as it is, its `Deno.serve` recorded.
 */
import { readdir, readFile } from "node:fs/promises";
import process from "node:process";

type Handler = (request: Request) => Response | Promise<Response>;

interface ServeOptions {
  port: number;
  hostname: string;
  onListen(address: { port: number }): void;
}

/** The part of Deno that is used; declared here so that one compiler checks all. */
interface Runtime {
  serve(options: ServeOptions, handler: Handler): unknown;
}

// The pipe from the tests ends with them, however they end: nothing is left running.
process.stdin.resume().once("end", () => process.exit());

const runtime = (globalThis as unknown as { Deno: Runtime }).Deno;
const serve = runtime.serve.bind(runtime);
let recorded: Handler | undefined;
Object.defineProperty(runtime, "serve", { value: (handler: Handler) => (recorded = handler) });

const supabase = new URL("../../supabase/", import.meta.url);
const entries = functionEntries(await readFile(new URL("config.toml", supabase), "utf8"));
for (const folder of await readdir(new URL("functions/", supabase), { withFileTypes: true })) {
  const isFunction = folder.isDirectory() && !folder.name.startsWith("_") && folder.name !== "node_modules";
  // What config.toml does not speak of is deployed with the defaults.
  if (isFunction && !entries.has(folder.name)) entries.set(folder.name, {});
}

/** By the file that serves: two names may lead to one. */
const handlers = new Map<string, Handler>();
const routes = new Map<string, Handler>();
for (const [name, { entrypoint, verify_jwt: verifiesJwt }] of entries) {
  const file = new URL(entrypoint ?? `./functions/${name}/index.ts`, supabase).href;
  const handler = handlers.get(file) ?? (await handlerOf(file));
  handlers.set(file, handler);
  // The gateway takes JWTs alone unless it is told not to look; then tokens of ours never come through.
  routes.set(name, verifiesJwt === "false" ? handler : refuse(401, `verify_jwt is on for ${name}`));
}

const options: ServeOptions = {
  port: 0,
  hostname: "127.0.0.1",
  onListen: ({ port }) => console.log(`functions are served on port ${port}`),
};
serve(options, (request) => {
  const [, , , name = ""] = new URL(request.url).pathname.split("/");
  return (routes.get(name) ?? refuse(404, "Function not found"))(request);
});

/** The `[functions.<name>]` tables of config.toml, as texts. */
function functionEntries(toml: string): Map<string, Record<string, string>> {
  const found = new Map<string, Record<string, string>>();
  let entry: Record<string, string> | undefined;
  for (const line of toml.split("\n")) {
    const table = /^\[(.+)\]\s*$/.exec(line)?.[1];
    if (table !== undefined) {
      entry = table.startsWith("functions.") ? {} : undefined;
      if (entry) found.set(table.slice("functions.".length), entry);
    }
    const [, key, value] = /^(\w+) *= *"?([^"]*)"?\s*$/.exec(line) ?? [];
    if (entry && key !== undefined && value !== undefined) entry[key] = value;
  }
  return found;
}

async function handlerOf(file: string): Promise<Handler> {
  recorded = undefined;
  await import(file);
  if (!recorded) throw new Error(`${file} serves nothing`);
  return recorded;
}

function refuse(code: number, message: string): Handler {
  return () => Response.json({ code, message }, { status: code });
}
