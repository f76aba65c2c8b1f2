import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

/** Fields of a model's input, as the official client declares them. */
export function inputFieldsOf(model: string): { known: string[]; required: string[] } {
  const client = createRequire(import.meta.url).resolve("@fal-ai/client");
  declarations ??= readFileSync(path.join(path.dirname(client), "types/endpoints.d.ts"), "utf8");
  const at = declarations.indexOf(`    "${model}": {\n`);
  let type = at === -1 ? undefined : /input: (\w+)/.exec(declarations.slice(at, at + 500))?.[1];
  for (let alias = type; alias;) {
    type = alias;
    alias = new RegExp(`^export type ${type} = (\\w+);$`, "m").exec(declarations)?.[1];
  }
  const begin = declarations.indexOf(`export type ${type} = {\n`);
  const end = declarations.indexOf("\n};", begin);
  if (type === undefined || begin === -1) return { known: [], required: [] };
  const fields = [...declarations.slice(begin, end).matchAll(/^ {4}(\w+)(\?)?:/gm)];
  return {
    known: fields.map(([, name = ""]) => name),
    required: fields.filter(([, , optional]) => optional === undefined).map(([, name = ""]) => name),
  };
}
let declarations: string | undefined;
