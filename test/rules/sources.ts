/** What the rules read of the project: files, imports, functions and the calls between them. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { projectPath } from "../../server/migrate.ts";

/** Files below a folder of the project whose name ends so, as paths from the project's root with `/`. */
export function filesBelow(folder: string, ending: string): string[] {
  const found: string[] = [];
  const search = (inside: string): void => {
    for (const entry of readdirSync(projectPath(inside), { withFileTypes: true })) {
      const file = `${inside}/${entry.name}`;
      if (entry.isDirectory() && entry.name !== "node_modules") search(file);
      else if (entry.isFile() && entry.name.endsWith(ending)) found.push(file);
    }
  };
  if (existsSync(projectPath(folder))) search(folder);
  return found.sort();
}

export function textOf(file: string): string {
  return readFileSync(projectPath(file), "utf8");
}

/** The endpoints: folders of `supabase/functions` that are not shared code. */
export function endpointFolders(): string[] {
  return readdirSync(projectPath("supabase/functions"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !/^[_.]|^node_modules$/.test(entry.name))
    .map((entry) => entry.name)
    .sort();
}

export interface Import {
  specifier: string;
  /** The file it names, when that is ours. */
  file: string | undefined;
  /** Erased by the compiler. */
  isType: boolean;
  /** Local name → name in the other file. */
  names: Map<string, string>;
}

/** Static imports, re-exports and `import()` of a file. */
export function importsOf(file: string, source = textOf(file)): Import[] {
  const found: Import[] = [];
  const statements =
    /^(?:import|export)\s+(type\s+)?([\w*{][^;"']*?\s)from\s+["']([^"']+)["']|^import\s+["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;
  for (const [, type, clause = "", from, bare, dynamic] of source.matchAll(statements)) {
    const specifier = from ?? bare ?? dynamic ?? "";
    const named = /\{([^}]*)\}/.exec(clause)?.[1] ?? "";
    const items = named
      .split(",")
      .map((item) => item.trim())
      .filter(Boolean);
    const values = items.filter((item) => !item.startsWith("type "));
    const pairs = items.map((item): [string, string] => {
      const [name = "", local = name] = item.replace(/^type\s+/, "").split(/\s+as\s+/);
      return [local, name];
    });
    found.push({
      specifier,
      file: specifier.startsWith(".")
        ? path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier))
        : undefined,
      isType: Boolean(type) || (clause.trim().startsWith("{") && values.length === 0),
      names: new Map(pairs),
    });
  }
  return found;
}

/** Top-level functions of a TypeScript file and their texts; prettier ends each with a brace of its own line. */
export function functionTexts(source: string): Map<string, string> {
  const texts = new Map<string, string>();
  for (const [text, name = ""] of source.matchAll(/^(?:export )?(?:async )?function\*? (\w+)[^]*?^\}$/gm)) {
    texts.set(name, text);
  }
  return texts;
}

export interface SqlCall {
  file: string;
  name: string;
  /** Names of the arguments as written. */
  args: string[];
}

/** Calls of SQL functions by use cases: `database.call("name", { argument: … })`. */
export function sqlCalls(file: string, source = textOf(file)): SqlCall[] {
  return [...source.matchAll(/\.call(?:<[^()]*?>)?\(\s*"(\w+)",\s*\{/g)].map((match) => ({
    file,
    name: match[1] ?? "",
    args: keysOf(source.slice(match.index + match[0].length)),
  }));
}

/** Keys of an object literal, given from after its brace; keys of spread objects count too. */
function keysOf(source: string): string[] {
  let depth = 0;
  let part = "";
  const parts: string[] = [];
  for (const character of source) {
    if (depth === 0 && (character === "}" || character === ",")) {
      parts.push(part.trim());
      part = "";
      if (character === "}") break;
      continue;
    }
    if ("({[".includes(character)) depth++;
    if (")}]".includes(character)) depth--;
    part += character;
  }
  return parts.filter(Boolean).flatMap((written) => {
    if (!written.startsWith("...")) return [/^\w+/.exec(written)?.[0] ?? written];
    const inner = written.indexOf("{");
    return inner === -1 ? [written] : keysOf(written.slice(inner + 1));
  });
}

export interface SqlFunction {
  file: string;
  name: string;
  /** Without comments. */
  source: string;
}

/** The functions of `supabase/schemas`, one a file, under the names of their files. */
export function sqlFunctions(): SqlFunction[] {
  return filesBelow("supabase/schemas", ".sql")
    .filter((file) => file.includes("/functions/"))
    .map((file) => ({
      file,
      name: path.posix.basename(file, ".sql"),
      source: withoutSqlComments(textOf(file)),
    }));
}

export function withoutSqlComments(source: string): string {
  return source.replace(/--.*$/gm, "");
}

/** Refusals that a SQL text raises itself. */
export function refusalsIn(source: string): { code: string; status: number }[] {
  return [...source.matchAll(/public\.refuse\(\s*'(\w+)',\s*(\d{3})\b/g)].map((match) => ({
    code: match[1] ?? "",
    status: Number(match[2]),
  }));
}
