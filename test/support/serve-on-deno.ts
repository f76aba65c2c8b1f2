/**
 * Serves every function of `supabase/functions` on one port, as the edge runtime of Supabase does. Run by
 * Deno; says on its first line which port. Each `index.ts` is imported as it is, its `Deno.serve` recorded.
 */
import { readdir, readFile } from "node:fs/promises";

type Handler = (request: Request) => Response | Promise<Response>;

/** The part of Deno that is used; declared here so that one compiler checks all. */
interface Runtime {
  serve: ((handler: Handler) => unknown) &
    ((
      options: { port: number; hostname: string; onListen(address: { port: number }): void },
      handler: Handler,
    ) => unknown);
}

const runtime = (globalThis as unknown as { Deno: Runtime }).Deno;
const serve = runtime.serve.bind(runtime);
const folder = new URL("../../supabase/", import.meta.url);

const config = await readFile(new URL("config.toml", folder), "utf8");
const handlers = new Map<string, Handler>();
for (const entry of await readdir(new URL("functions/", folder), { withFileTypes: true })) {
  if (!entry.isDirectory() || entry.name.startsWith("_") || entry.name === "node_modules") continue;
  handlers.set(spelling(entry.name), await handlerOf(entry.name));
}

serve(
  {
    port: 0,
    hostname: "127.0.0.1",
    onListen: ({ port }) => console.log(`functions are served on port ${port}`),
  },
  (request) => {
    const name = /^\/functions\/v1\/([\w-]+)\/?$/.exec(new URL(request.url).pathname)?.[1];
    const handler = name === undefined ? undefined : handlers.get(spelling(name));
    return handler ? handler(request) : Response.json({ msg: "Function not found" }, { status: 404 });
  },
);

async function handlerOf(name: string): Promise<Handler> {
  // Without this entry Supabase asks for a JWT of its own before ours is called, and tokens never come through.
  if (!new RegExp(`^\\[functions\\.${name}\\]\\nverify_jwt = false$`, "m").test(config)) {
    return () =>
      Response.json({ code: 401, message: `verify_jwt is on for ${name} in config.toml` }, { status: 401 });
  }
  let recorded: Handler | undefined;
  Object.defineProperty(runtime, "serve", {
    configurable: true,
    writable: true,
    value: (handler: Handler) => (recorded = handler),
  });
  await import(new URL(`functions/${name}/index.ts`, folder).href);
  if (!recorded) throw new Error(`${name}/index.ts serves nothing`);
  return recorded;
}

function spelling(name: string): string {
  return name.replaceAll("_", "-");
}
