/** The pages that are made from the contracts, and the entries of `supabase/config.toml`. */
import { endpoints } from "../server/functions/registry.ts";
import { type ErrorCode, errorCodes } from "../supabase/functions/_shared/errors/codes.ts";
import { commonErrors, type Contract } from "../supabase/functions/_shared/http/endpoint.ts";
import { families } from "../supabase/functions/_shared/generators/families.ts";
import { errorsOf, jsonSchema, openApi } from "../supabase/functions/_shared/http/openapi.ts";

/** The part of JSON Schema that zod writes for bodies and answers. */
interface Schema {
  type?: string | string[];
  description?: string;
  const?: unknown;
  enum?: unknown[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  minLength?: number;
  maxLength?: number;
  anyOf?: Schema[];
  allOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  /** Of a family's field: what counts when it is not sent, and where it goes in params. */
  unless?: string;
  goesTo?: string;
}

interface Content {
  content?: { "application/json": { schema: Schema } };
}

interface Operation {
  requestBody: Content & { required: boolean };
  responses: Record<string, Content & { description: string }>;
}

const generated = "<!-- Made by `npm run generate`; change the contracts, not this page. -->\n\n";

/** `docs/http-api.md` */
export function httpApiPage(): string {
  const parts = [
    "# HTTP API\n",
    "Every endpoint is `POST /functions/v1/<name>` with a JSON object as body, on Supabase and on the standalone " +
      "host alike; `-` and `_` in a name are the same. Fields that are not listed are ignored, except by endpoints that give " +
      "rights, move money or send data out: they refuse them by `unknown_field`. `OPTIONS` answers CORS.\n",
    "**Text** must be valid Unicode without the character NUL, and numbers must be finite; else 400 `invalid_request` names " +
      "the field.\n",
    "**Callers.** The *service* sends the service key (`Authorization: Bearer`, or an `sb_secret_…` key as `apikey`), " +
      "a *user* the JWT of a session, a *worker of a user* a personal access token (`dr_pat_…`), which needs the scope " +
      "that is named. A publishable key alone is nobody. What is for *anyone* needs no credentials and looks at none. " +
      "Limits are per caller and minute; the service has one of its own.\n",
    "**Headers.** `x-request-id` is echoed, or made. `x-ratelimit-limit`, `-remaining` and `-reset` (epoch seconds) tell " +
      "what is left; 429 and 503 carry `retry-after` (seconds).\n",
    "**Errors** are `{error, message, request_id, …details}`; [errors.md](errors.md) has every code. Any endpoint may " +
      `answer with ${listOfCodes(commonErrors)}.\n`,
    table(
      ["Endpoint", "What it does"],
      endpoints.map(({ contract }) => [
        `[\`${contract.name}\`](#${anchorOf(contract.name)})`,
        contract.summary,
      ]),
    ),
  ];
  const paths = openApi(endpoints, "")["paths"] as Record<string, { post: Operation }>;
  for (const { contract } of endpoints) {
    const operation = paths[`/functions/v1/${contract.name}`]?.post;
    if (!operation) throw new Error(`${contract.name} is not in the OpenAPI document.`);
    parts.push(...sectionOf(contract, operation));
  }
  return `${generated}${parts.join("\n")}`;
}

/** `docs/errors.md` */
export function errorsPage(): string {
  const everywhere = new Set<ErrorCode>(commonErrors);
  const rows = Object.entries(errorCodes)
    .map(([code, { status, message }]) => ({ code: code as ErrorCode, status, message }))
    // Sorting keeps the catalogue's order within a status.
    .sort((a, b) => a.status - b.status)
    .map(({ code, status, message }) => {
      const names = endpoints.filter(({ contract }) => errorsOf(contract).includes(code));
      const linked = names.map(
        ({ contract }) => `[\`${contract.name}\`](http-api.md#${anchorOf(contract.name)})`,
      );
      const where = everywhere.has(code) ? "every endpoint" : linked.join(", ") || "unknown paths";
      return [`\`${code}\``, String(status), message, where];
    });
  return (
    `${generated}# Errors\n\n` +
    "Every refusal is JSON: `{error, message, request_id, …details}`. `error` is one of these codes and is what programs " +
    "decide by; `message` is for people and may change. Some carry details, such as `current_status` or `retry_after`.\n\n" +
    table(["Code", "Status", "Message", "Endpoints"], rows)
  );
}

/** `docs/generators.md`: what is written by hand, then a table for each family. */
export function generatorsPage(introduction: string): string {
  const sections = Object.entries(families).map(([name, { summary, input }]) => {
    const schema = jsonSchema(input, "input") as Schema;
    const rows = Object.entries(schema.properties ?? {}).flatMap(([field, shape]) => {
      const given = withoutNull(shape);
      const inner = given.items ?? given;
      const prefix = `${field}${given.items ? "[]" : ""}.`;
      return [
        [
          `\`${field}\``,
          typeOf(given),
          schema.required?.includes(field) ? "_required_" : (shape.unless ?? ""),
          shape.goesTo ?? "",
        ],
        ...fieldRows(inner, prefix, "input").map(([path = "", type = ""]) => [path, type, "", ""]),
      ];
    });
    return `\n## ${name}\n\n${summary}\n\n${table(["Field", "Type", "Unless sent", "Where it goes"], rows)}`;
  });
  return `${introduction}${familiesBegin}\n${sections.join("")}`;
}

/** What stands above it in the page is written by hand, what stands below is made. */
export const familiesBegin =
  "<!-- From here on made by `npm run generate` from the families' inputs; change those, not this page. -->\n";

/** A field that may be left out may be null as well, which is no news. */
function withoutNull(schema: Schema): Schema {
  if (Array.isArray(schema.type)) {
    const [type, ...others] = schema.type.filter((one) => one !== "null");
    return type && others.length === 0 ? { ...schema, type } : schema;
  }
  const shapes = schema.anyOf?.filter(({ type }) => type !== "null");
  const [only] = shapes ?? [];
  return shapes?.length === 1 && only ? withoutNull(only) : schema;
}

/**
 * The entries of `supabase/config.toml`, each name in both spellings: Supabase routes by the exact name, and
 * clients use either. `supabase functions deploy` finds imports by `import_map` alone: it looks for a
 * `deno.json` in a function's own folder, never in the one above.
 */
export function functionEntries(names: readonly string[]): string {
  return [...names].sort().map(entriesOf).join("");
}

/** A name with `-` for `_`, or the other way round; the name itself when it has neither. */
export function otherSpelling(name: string): string {
  return name.includes("_") ? name.replaceAll("_", "-") : name.replaceAll("-", "_");
}

function entriesOf(name: string): string {
  const settings = `verify_jwt = false\nimport_map = "./functions/deno.json"\n`;
  const other = otherSpelling(name);
  const entry = `\n[functions.${name}]\n${settings}`;
  if (other === name) return entry;
  return `${entry}\n[functions.${other}]\n${settings}entrypoint = "./functions/${name}/index.ts"\n`;
}

function sectionOf(contract: Contract, { requestBody, responses }: Operation): string[] {
  const callers = contract.callers.map((kind) =>
    kind === "personal-access-token" ? "worker of a user" : kind,
  );
  const facts = [
    ...(contract.methods
      ? [`- **Methods:** ${contract.methods.join(", ")}; by GET the fields are a query`]
      : []),
    `- **Callers:** ${callers.join(", ")}`,
    ...(contract.scope ? [`- **Scope of a token:** \`${contract.scope}\``] : []),
    `- **Limit:** ${contract.requestsPerMinute} a minute${contract.limitsRefusedOnly ? "; only refused calls count" : ""}`,
    ...otherTypesOf(contract),
    ...(contract.unknownFields === "refused"
      ? ["- **Unknown fields:** refused by `unknown_field`, with the field that is probably meant"]
      : []),
    ...(contract.bodyLimit ? [`- **Body:** at most ${contract.bodyLimit / 1024 / 1024} MiB`] : []),
  ];
  const body = requestBody.content?.["application/json"].schema;
  const parts = [`\n## ${contract.name}\n`, `${contract.summary}\n`, `${facts.join("\n")}\n`];
  if (body)
    parts.push(...shapeOf(body, requestBody.required ? "Body" : "Body, which may be missing", "input"));
  for (const status of Object.keys(contract.answers)) {
    const answer = responses[status];
    if (!answer) throw new Error(`${contract.name}: ${status} is not in the OpenAPI document.`);
    parts.push(`**${status}** ${answer.description}\n`);
    const schema = answer.content?.["application/json"].schema;
    if (schema) parts.push(...shapeOf(schema, undefined, "output"));
  }
  const own = contract.errors.filter((code) => !(commonErrors as readonly string[]).includes(code));
  if (own.length > 0) parts.push(`**Errors of its own:** ${listOfCodes(own)}.\n`);
  return parts;
}

/** A table of fields for each shape that the schema allows. */
function shapeOf(schema: Schema, title: string | undefined, io: "input" | "output"): string[] {
  const shapes = schema.anyOf ?? [schema];
  const isDescribed = io === "input" || shapes.some(hasDescriptions);
  const header = ["Field", "Type", ...(io === "input" ? ["Required"] : []), "Description"];
  const columns = isDescribed ? header.length : header.length - 1;
  return shapes.flatMap((shape, index) => {
    const heading = index === 0 ? title : "or";
    const list = shape.type === "array" ? shape.items : undefined;
    const rows = fieldRows(list ?? shape, list ? "[]." : "", io).map((row) => row.slice(0, columns));
    return [
      ...(heading ? [`**${heading}**\n`] : []),
      rows.length > 0 ? table(header.slice(0, columns), rows) : "No fields.\n",
    ];
  });
}

function otherTypesOf({ answers }: Contract): string[] {
  const types = Object.values(answers).flatMap(({ otherTypes = [] }) => otherTypes);
  return types.length > 0 ? [`- **Also answers as:** \`${types.join("`, `")}\``] : [];
}

function hasDescriptions(shape: Schema): boolean {
  return fieldRows(shape.items ?? shape, "", "output").some((row) => row.at(-1) !== "");
}

/** Rows of an object's fields, those of inner objects below theirs. */
function fieldRows(schema: Schema, prefix: string, io: "input" | "output"): string[][] {
  const parts = [schema, ...(schema.allOf ?? [])];
  return parts.flatMap((part) =>
    Object.entries(part.properties ?? {}).flatMap(([name, field]) => {
      // A field that must be absent has a schema that says nothing.
      if (io === "input" && Object.keys(field).length === 0) return [];
      const required = part.required?.includes(name) ?? false;
      const optionalMark = io === "output" && !required ? ", may be missing" : "";
      const row = [
        `\`${prefix}${name}\``,
        typeOf(field) + optionalMark,
        ...(io === "input" ? [required ? "yes" : ""] : []),
        field.description ?? "",
      ];
      const inner = field.items ?? field;
      const innerPrefix = `${prefix}${name}${field.items ? "[]" : ""}.`;
      return [row, ...fieldRows(inner, innerPrefix, io)];
    }),
  );
}

function typeOf(schema: Schema): string {
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  if (schema.enum) return schema.enum.map((value) => `\`${JSON.stringify(value)}\``).join(" or ");
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (Array.isArray(schema.type)) {
    return schema.type.map((type) => typeOf({ ...schema, type })).join(" or ");
  }
  switch (schema.type) {
    case "string":
      if (schema.pattern?.startsWith("^[0-9a-f]{8}-")) return "uuid";
      return `string${range(schema.minLength, schema.maxLength, "characters")}`;
    case "integer":
    case "number":
      return `${schema.type}${range(safe(schema.minimum), safe(schema.maximum), "")}`;
    case "array":
      return `list of ${typeOf(schema.items ?? {})}${range(schema.minItems, schema.maxItems, "items")}`;
    case undefined:
      return schema.properties || schema.allOf ? "object" : "anything";
    default:
      return schema.type;
  }
}

/** Every integer has the bounds of exact arithmetic; they are no news. */
function safe(bound: number | undefined): number | undefined {
  return bound !== undefined && Math.abs(bound) === Number.MAX_SAFE_INTEGER ? undefined : bound;
}

function range(least: number | undefined, most: number | undefined, unit: string): string {
  const words = unit && ` ${unit}`;
  if (least !== undefined && most !== undefined) return ` (${least} to ${most}${words})`;
  if (most !== undefined) return ` (at most ${most}${words})`;
  return least !== undefined ? ` (at least ${least}${words})` : "";
}

function listOfCodes(codes: readonly ErrorCode[]): string {
  const byStatus = [...codes].sort((a, b) => errorCodes[a].status - errorCodes[b].status);
  return byStatus.map((code) => `\`${code}\` (${errorCodes[code].status})`).join(", ");
}

/** As GitHub names the anchor of a heading. */
function anchorOf(name: string): string {
  return name.toLowerCase();
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return `${[line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n")}\n`;
}
