import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import {
  familiesBegin,
  functionEntries,
  generatorsPage,
  httpApiPage,
  otherSpelling,
} from "../../scripts/documents.ts";
import { projectPath } from "../../server/migrate.ts";
import { methodsOf } from "../../supabase/functions/_shared/http/endpoint.ts";
import { endpoints } from "../../server/functions/registry.ts";
import { openApi, statusesOf } from "../../supabase/functions/_shared/http/openapi.ts";
import { assertNone } from "./assert-none.ts";
import { endpointFolders, textOf } from "./sources.ts";

const folders = endpointFolders();
const document = openApi(endpoints, "https://darkroom.example");

test("each endpoint's folder has its entry, its contract and a test", () => {
  assert.ok(folders.length > 0);
  const faults = folders.flatMap((folder) =>
    ["index.ts", "endpoint.ts", "endpoint.test.ts"]
      .map((file) => `supabase/functions/${folder}/${file}`)
      .filter((file) => !existsSync(projectPath(file))),
  );
  assertNone(faults, "Missing:");
});

test("an entry serves its endpoint and does nothing else", () => {
  const faults = folders.filter((folder) => {
    const name = `${folder.replace(/[-_](\w)/g, (_, letter: string) => letter.toUpperCase())}Endpoint`;
    // One function also has the worker, which the others do without.
    const [environment, imports] =
      folder === "run-provider-tasks"
        ? [
            "environmentWithRuns",
            `import { Deno } from "../_shared/runtime/deno.ts";
             import { environmentWithRuns } from "../_shared/runtime/isolate-runs.ts";`,
          ]
        : ["environment", 'import { Deno, environment } from "../_shared/runtime/deno.ts";'];
    const expected = `
      import { bind } from "../_shared/http/bind.ts";
      ${imports}
      import { ${name} } from "./endpoint.ts";
      Deno.serve(bind(${name}, ${environment}()));`;
    const spaces = /\s+/g;
    return (
      textOf(`supabase/functions/${folder}/index.ts`).replace(spaces, "") !== expected.replace(spaces, "")
    );
  });
  assertNone(faults, "index.ts is `Deno.serve(bind(…Endpoint, environment()))` with its three imports:");
});

test("an endpoint calls a room, not the database", () => {
  const faults = folders.filter((folder) =>
    /\bdatabase\s*\.\s*call|\bsql`/.test(textOf(`supabase/functions/${folder}/endpoint.ts`)),
  );
  assertNone(faults, "Move the call into a use case:");
});

test("every endpoint is served by the standalone host under its folder's name", () => {
  const names = endpoints.map(({ contract }) => contract.name);
  assert.equal(new Set(names).size, names.length, "each name is registered once");
  assert.deepEqual([...names].sort(), folders, "server/functions/registry.ts and supabase/functions");
  const faults = folders.filter(
    (folder) => !textOf(`supabase/functions/${folder}/endpoint.ts`).includes(`name: "${folder}"`),
  );
  assertNone(faults, "The contract's name is the folder's:");
});

test("Supabase serves every endpoint in either spelling, and leaves the callers to it", () => {
  const config = textOf("supabase/config.toml");
  const entries = config.slice(config.indexOf("\n[functions."));
  assert.equal(entries, functionEntries(folders), "run `npm run generate functions`");
  assert.ok(!config.slice(0, config.indexOf("\n[functions.")).includes("[functions."));
  assert.equal(otherSpelling("complete_task"), "complete-task");
  assert.equal(otherSpelling("claim-next-task"), "claim_next_task");
  assert.equal(otherSpelling("tasks"), "tasks");
  for (const folder of folders) {
    for (const name of [folder, otherSpelling(folder)]) {
      assert.match(entries, new RegExp(`\\[functions\\.${name}\\]\\nverify_jwt = false\\n`));
    }
  }
});

test("a contract says something of everything that it answers", () => {
  const faults = endpoints.flatMap(({ contract }) => {
    const { name, summary, callers, answers, errors, requestsPerMinute, scope } = contract;
    return [
      ...(summary.endsWith(".") && summary.length <= 200 ? [] : [`${name}: summary`]),
      ...(callers.length > 0 && new Set(callers).size === callers.length ? [] : [`${name}: callers`]),
      ...(callers.includes("personal-access-token") === (scope !== undefined) ? [] : [`${name}: scope`]),
      ...(requestsPerMinute > 0 ? [] : [`${name}: requestsPerMinute`]),
      ...(new Set(errors).size === errors.length ? [] : [`${name}: errors`]),
      ...Object.entries(answers)
        .filter(([status, { schema, description }]) => {
          const hasBody = status !== "204";
          return !/^2\d\d$/.test(status) || hasBody !== (schema !== undefined) || description === "";
        })
        .map(([status]) => `${name}: answer ${status}`),
    ];
  });
  assertNone(faults, "Say it in the contract:");
});

/**
 * What gives rights, moves or prices money, or sends data out: there a misspelt field must not count as left out. A new
 * endpoint stands in one of the two lists.
 */
const refuseUnknownFields = [
  "confirm-checkout",
  "create-promo-code",
  "create-webhook",
  "delete-webhook",
  "generate-pat",
  "grant-credits",
  "list-provider-prices",
  "publish-price",
  "publish-provider-price",
  "reconcile-payments",
  "redeem-promo-code",
  "redeliver-webhook",
  "resolve-billing-alert",
  "revoke-pat",
  "rotate-webhook-secret",
  "set-spend-cap",
  "setup-auto-topup",
  "stripe-checkout",
  "test-webhook",
  "trigger-auto-topup",
  "update-webhook",
];
/** Clients and workers that were shipped send more than these take; reading gives no right; providers sign their bodies. */
const ignoreUnknownFields = [
  "ai-prompt",
  "ai-voice-prompt",
  "calculate-task-cost",
  "claim-next-task",
  "complete_task",
  "create-task",
  "credit-balance",
  "credit-statement",
  "delete-abandoned-files",
  "deliver-webhooks",
  "fal-webhook",
  "generate-upload-url",
  "get-completed-segments",
  "get-orchestrator-children",
  "get-predecessor-output",
  "get-receipt",
  "get-task-output",
  "get-task-status",
  "list-billing-alerts",
  "list-pats",
  "list-prices",
  "list-webhook-deliveries",
  "list-webhooks",
  "provider-margin",
  "provider-withdrawals",
  "queue-position",
  "run-doctor",
  "run-provider-tasks",
  "scale",
  "single-image-generate",
  "steerable-motion",
  "stripe-webhook",
  "task-counts",
  "tasks-list",
  "update-shot-pair-prompts",
  "update-task-status",
  "update-worker-model",
  "withdraw-provider-jobs",
  "worker-heartbeat",
];

test("every endpoint that gives rights, moves money or sends data out refuses unknown fields; every other is listed as one that does not", () => {
  const names = endpoints.map(({ contract }) => contract.name);
  assert.deepEqual([...names].sort(), [...refuseUnknownFields, ...ignoreUnknownFields].sort());
  assert.deepEqual(
    endpoints
      .filter(({ contract }) => contract.unknownFields === "refused")
      .map(({ contract }) => contract.name)
      .sort(),
    refuseUnknownFields,
  );
  const paths = objectAt(document["paths"], "paths");
  for (const name of refuseUnknownFields) {
    const { post } = objectAt(paths[`/functions/v1/${name}`], name);
    const content = objectAt(objectAt(objectAt(post, name)["requestBody"], name)["content"], name);
    const schema = objectAt(objectAt(content["application/json"], name)["schema"], name);
    const open = openObjects(schema);
    assert.deepEqual(open, [], `${name}: additionalProperties is not false`);
    assert.equal(schema["additionalProperties"], false, name);
  }
});

test("/openapi.json is OpenAPI 3.1 of every endpoint, caller and status", () => {
  const root = objectAt(document, "#");
  assert.match(textAt(root, "openapi"), /^3\.1\.\d+$/);
  assert.deepEqual(
    Object.keys(root).filter((key) => !["openapi", "info", "servers", "paths", "components"].includes(key)),
    [],
  );
  const info = objectAt(root["info"], "info");
  for (const key of ["title", "version"]) assert.ok(textAt(info, key));
  assert.ok(Array.isArray(root["servers"]));

  const paths = objectAt(root["paths"], "paths");
  assert.deepEqual(
    Object.keys(paths).sort(),
    endpoints.map(({ contract }) => `/functions/v1/${contract.name}`).sort(),
  );
  const schemes = objectAt(objectAt(root["components"], "components")["securitySchemes"], "securitySchemes");
  const operationIds: string[] = [];
  for (const { contract } of endpoints) {
    const item = objectAt(paths[`/functions/v1/${contract.name}`], contract.name);
    const methods = Object.keys(item).map((method) => method.toUpperCase());
    assert.deepEqual(methods.sort(), [...methodsOf(contract)].sort(), contract.name);
    const operation = objectAt(item["post"], contract.name);
    operationIds.push(textAt(operation, "operationId"));
    assert.equal(textAt(operation, "summary"), contract.summary);

    const security = operation["security"];
    assert.ok(Array.isArray(security) && security.length > 0, `${contract.name}: security`);
    for (const requirement of security as unknown[]) {
      for (const scheme of Object.keys(objectAt(requirement, "security")))
        assert.ok(scheme in schemes, scheme);
    }
    const body = objectAt(operation["requestBody"], `${contract.name}: requestBody`);
    assert.equal(body["required"], !contract.bodyOptional);
    checkContent(body, `${contract.name}: requestBody`);

    const responses = objectAt(operation["responses"], `${contract.name}: responses`);
    assert.deepEqual(Object.keys(responses).map(Number), statusesOf(contract), contract.name);
    for (const [status, response] of Object.entries(responses)) {
      const where = `${contract.name}: ${status}`;
      const answer = objectAt(response, where);
      assert.ok(textAt(answer, "description"), where);
      if (status === "204") assert.ok(!("content" in answer), where);
      else checkContent(answer, where, contract.answers[Number(status)]?.otherTypes);
    }
  }
  assert.equal(new Set(operationIds).size, operationIds.length, "operationIds are unique");
});

test("every $ref of /openapi.json leads somewhere, and every schema is one", () => {
  assert.deepEqual(danglingReferences(document, document), []);
  assert.deepEqual(danglingReferences({ a: { $ref: "#/nowhere" } }, document), ["#/nowhere"]);
  const text = JSON.stringify(document);
  assert.deepEqual(JSON.parse(text), document, "nothing in it is lost in JSON");
});

test("docs/http-api.md is up to date", () => {
  assert.equal(textOf("docs/http-api.md"), httpApiPage(), "run `npm run generate documents`");
});

test("docs/generators.md is up to date, and says of every field of a family where it goes", () => {
  const page = textOf("docs/generators.md");
  const [introduction = "", made] = page.split(familiesBegin);
  assert.ok(made, "the families begin somewhere");
  assert.equal(page, generatorsPage(introduction), "run `npm run generate documents`");
  const faults = made
    .split("\n")
    .filter((line) => /^\| `\w+` /.test(line) && /\| +\| *$|\| +\| [^|]+\|$/.test(line));
  assertNone(faults, "Say it by required() or optional():");
});

type JsonObject = Record<string, unknown>;

function objectAt(value: unknown, where: string): JsonObject {
  assert.ok(typeof value === "object" && value !== null && !Array.isArray(value), `${where} is no object`);
  return value as JsonObject;
}

function textAt(object: JsonObject, key: string): string {
  const value = object[key];
  assert.equal(typeof value, "string", key);
  return value as string;
}

function checkContent(holder: JsonObject, where: string, otherTypes: readonly string[] = []): void {
  const content = objectAt(holder["content"], `${where}: content`);
  assert.deepEqual(Object.keys(content), ["application/json", ...otherTypes], where);
  const media = objectAt(content["application/json"], where);
  checkSchema(objectAt(media["schema"], `${where}: schema`), where);
}

const schemaTypes = new Set(["string", "number", "integer", "boolean", "object", "array", "null"]);

/** The keywords of JSON Schema 2020-12 that hold schemas or are easily wrong. */
function checkSchema(schema: JsonObject, where: string): void {
  if ("$ref" in schema) return;
  const types = schema["type"] === undefined ? [] : [schema["type"]].flat();
  for (const type of types)
    assert.ok(typeof type === "string" && schemaTypes.has(type), `${where}: ${String(type)}`);
  if ("enum" in schema)
    assert.ok(Array.isArray(schema["enum"]) && schema["enum"].length > 0, `${where}: enum`);
  if ("nullable" in schema) assert.fail(`${where}: nullable is of OpenAPI 3.0`);
  const properties = schema["properties"] === undefined ? {} : objectAt(schema["properties"], where);
  for (const [name, property] of Object.entries(properties)) {
    checkSchema(objectAt(property, `${where}.${name}`), `${where}.${name}`);
  }
  if ("required" in schema) {
    assert.ok(Array.isArray(schema["required"]), `${where}: required`);
    for (const name of schema["required"] as unknown[]) {
      assert.ok(typeof name === "string" && name in properties, `${where}: required ${String(name)}`);
    }
  }
  if (types.includes("array")) checkSchema(objectAt(schema["items"], `${where}[]`), `${where}[]`);
  for (const keyword of ["anyOf", "oneOf", "allOf"]) {
    if (!(keyword in schema)) continue;
    const members = schema[keyword];
    assert.ok(Array.isArray(members) && members.length > 0, `${where}: ${keyword}`);
    for (const member of members as unknown[]) checkSchema(objectAt(member, where), where);
  }
}

/** Objects of a schema that list their fields and let others in. */
function openObjects(schema: unknown, where = "body"): string[] {
  if (typeof schema !== "object" || schema === null) return [];
  const isOpen =
    "properties" in schema && !("additionalProperties" in schema && schema.additionalProperties === false);
  return [
    ...(isOpen ? [where] : []),
    ...Object.entries(schema).flatMap(([key, inner]) => openObjects(inner, `${where}.${key}`)),
  ];
}

function danglingReferences(value: unknown, root: JsonObject): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    if (key !== "$ref" || typeof inner !== "string") return danglingReferences(inner, root);
    if (!inner.startsWith("#/")) return [inner];
    let target: unknown = root;
    for (const part of inner.slice(2).split("/")) {
      const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
      target = typeof target === "object" && target !== null ? (target as JsonObject)[name] : undefined;
    }
    return target === undefined ? [inner] : [];
  });
}
