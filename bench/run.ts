/** `npm run bench -- <name> [options]`: runs the benchmark in the file of that name. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const notBenchmarks = new Set(["run", "support", "profile"]);

const folder = fileURLToPath(new URL(".", import.meta.url));
const names = (await readdir(folder))
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -".ts".length))
  .filter((name) => !notBenchmarks.has(name))
  .sort();

const [name, ...options] = process.argv.slice(2);
if (name === undefined || !names.includes(name)) {
  console.error(`Usage: npm run bench -- <name> [--quick] [options]; names: ${names.join(", ")}`);
  process.exit(1);
}

const child = spawn(process.execPath, ["--import", "tsx", `${folder}${name}.ts`, ...options], {
  stdio: "inherit",
});
// Ctrl-C reaches the benchmark too; it ends by itself, in order.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => child.kill("SIGTERM"));
const [code] = (await once(child, "exit")) as [number | null];
process.exitCode = code ?? 1;
