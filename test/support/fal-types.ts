import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

/** A field of an endpoint's input, as the official client of FAL declares it. */
export interface FalField {
  name: string;
  isRequired: boolean;
  /** The texts that it may have; undefined where it is not a choice of texts. */
  choices: string[] | undefined;
  type: string;
}

let declarations: string | undefined;

/** The fields of an endpoint's input; undefined where the client does not know the endpoint. */
export function fieldsOfEndpoint(model: string): FalField[] | undefined {
  const at = declared().indexOf(`    "${model}": {\n`);
  const type = at === -1 ? undefined : /input: (\w+)/.exec(declared().slice(at, at + 500))?.[1];
  return type === undefined ? undefined : fieldsOfType(type);
}

/** The fields of a type of the client, by its name. */
export function fieldsOfType(name: string): FalField[] {
  let type: string | undefined = name;
  for (let alias: string | undefined = name; alias;) {
    type = alias;
    alias = new RegExp(`^export type ${type} = (\\w+);$`, "m").exec(declared())?.[1];
  }
  const begin = declared().indexOf(`export type ${type} = {\n`);
  if (begin === -1) return [];
  const body = declared().slice(begin, declared().indexOf("\n};", begin));
  return [...body.matchAll(/^ {4}(\w+)(\?)?: (.+);$/gm)].map(
    ([, field = "", optional, declaredType = ""]) => {
      const parts = declaredType.split(" | ");
      const choices = parts.every((part) => part.startsWith('"'))
        ? parts.map((part) => JSON.parse(part) as string)
        : undefined;
      return { name: field, isRequired: optional === undefined, choices, type: declaredType };
    },
  );
}

/** What is wrong with an input for an endpoint: fields that it does not have, that it needs, or with other values. */
export function faultsOfInput(model: string, input: Record<string, unknown>): string[] {
  const fields = fieldsOfEndpoint(model);
  if (!fields) return [`${model} is not in the client's types`];
  return faultsOfFields(fields, input).map((fault) => `${model}: ${fault}`);
}

function faultsOfFields(fields: readonly FalField[], input: Record<string, unknown>): string[] {
  const unknown = Object.keys(input).filter((name) => !fields.some((field) => field.name === name));
  return [
    ...unknown.map((name) => `has no field ${name}`),
    ...fields.flatMap(({ name, isRequired, choices, type }) => {
      const value = input[name];
      if (value === undefined) return isRequired ? [`needs ${name}`] : [];
      if (choices && !choices.includes(String(value))) return [`${name} cannot be ${JSON.stringify(value)}`];
      if (type === "number" || type === "boolean")
        return typeof value === type ? [] : [`${name} is not a ${type}`];
      const items = /^Array<(\w+)>$/.exec(type)?.[1];
      if (items === undefined || items === "string") return [];
      if (!Array.isArray(value)) return [`${name} is not a list`];
      return value.flatMap((item: Record<string, unknown>) => faultsOfFields(fieldsOfType(items), item));
    }),
  ];
}

function declared(): string {
  const client = createRequire(import.meta.url).resolve("@fal-ai/client");
  return (declarations ??= readFileSync(path.join(path.dirname(client), "types/endpoints.d.ts"), "utf8"));
}
