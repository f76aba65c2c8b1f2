import assert from "node:assert/strict";
import { test } from "node:test";
import { errorsPage } from "../../scripts/documents.ts";
import { endpoints } from "../../server/functions/registry.ts";
import { errorCodes, isErrorCode } from "../../supabase/functions/_shared/errors/codes.ts";
import { commonErrors } from "../../supabase/functions/_shared/http/endpoint.ts";
import { assertNone } from "./assert-none.ts";
import {
  filesBelow,
  functionTexts,
  importsOf,
  refusalsIn,
  sqlCalls,
  sqlFunctions,
  textOf,
  withoutSqlComments,
} from "./sources.ts";

/**
 * Refusals that a SQL function's callees could raise and, called from there, cannot. The graph knows who calls
 * whom, not with what.
 */
const impossible: { in: string; code: string; because: string }[] = [
  {
    in: "close_hold",
    code: "user_not_found",
    because: "a hold refers to its account by foreign key, and accounts are not deleted",
  },
  {
    in: "credit_payment",
    code: "user_not_found",
    because: "a payment refers to its account by foreign key, and accounts are not deleted",
  },
  ...["expire_grants", "collect_debt"].map((name) => ({
    in: name,
    code: "user_not_found",
    because: "a grant, like a debt, is of an account that exists, and accounts are not deleted",
  })),
  ...["insufficient_credits", "account_in_debt", "spend_cap_reached"].map((code) => ({
    in: "raise_hold",
    code,
    because: "it asks for no more than available_for_hold() allows, under the same lock of the account",
  })),
];

/** The same of an endpoint's use cases. */
const impossibleAnswers: { endpoint: string; code: string; because: string }[] = [
  ...["sold_below_cost", "unpaid_provider_limit"].map((code) => ({
    endpoint: "fal-webhook",
    code,
    because: "it says that a job has ended, and begins none",
  })),
  {
    endpoint: "generate-upload-url",
    code: "invalid_output",
    because: "signing sends storage no file that it could refuse, only a name that was made safe",
  },
  {
    endpoint: "delete-abandoned-files",
    code: "invalid_output",
    because: "it deletes files and sends none",
  },
  {
    endpoint: "redeem-promo-code",
    code: "user_not_found",
    because: "whose address is confirmed has an account",
  },
  ...[
    "task_not_found",
    "stale_attempt",
    "task_cancelled",
    "task_not_running",
    "invalid_transition",
    "provider_job_open",
  ].map((code) => ({
    endpoint: "fal-webhook",
    code,
    because: "a run that is over by now is its answer `over`",
  })),
  ...["output_not_found", "output_not_final"].map((code) => ({
    endpoint: "fal-webhook",
    code,
    because: "it completes the run with the files that it has just stored in the task's own folder",
  })),
  ...["complete_task", "fal-webhook"].map((endpoint) => ({
    endpoint,
    code: "output_replaceable",
    because: "it completes the run with copies then, which no upload URL can replace",
  })),
  {
    endpoint: "fal-webhook",
    code: "invalid_output",
    because: "what storage or the completion refuses is left to the run, which ends by it",
  },
  {
    endpoint: "fal-webhook",
    code: "too_many_outputs",
    because: "it fetches no more than are paid",
  },
  ...["single-image-generate", "steerable-motion"].map((endpoint) => ({
    endpoint,
    code: "contradicting_values",
    because: "it builds the params, and says each thing once",
  })),
  {
    endpoint: "fal-webhook",
    code: "output_replaced",
    because: "a file that another writer replaced is its answer `over`: the run reports by itself",
  },
  ...[
    "invalid_dependency",
    "task_limit_reached",
    "account_in_debt",
    "insufficient_credits",
    "spend_cap_reached",
  ].map((code) => ({
    endpoint: "fal-webhook",
    code,
    because: "it fails runs and puts them back; it retries none",
  })),
  ...["single-image-generate", "steerable-motion"].flatMap((endpoint) =>
    [
      "task_id_conflict",
      "orchestrator_finished",
      "invalid_dependency",
      "quote_not_found",
      "quote_expired",
      "quote_mismatch",
    ].map((code) => ({
      endpoint,
      code,
      because: "the tasks that it builds have no ids, orchestrators, dependencies or quotes of the client's",
    })),
  ),
  ...["single-image-generate", "steerable-motion"].flatMap((endpoint) =>
    ["generation_not_found", "variant_not_found", "shot_generation_not_found"].map((code) => ({
      endpoint,
      code,
      because: "its fields name no row but the project and a shot",
    })),
  ),
  ...["provider_failed", "provider_unavailable", "provider_timeout"].map((code) => ({
    endpoint: "stripe-webhook",
    code,
    because: "an event that is stored is handled later where Stripe does not answer",
  })),
  ...["provider_not_configured", "provider_failed", "provider_unavailable", "provider_timeout"].map(
    (code) => ({
      endpoint: "resolve-billing-alert",
      code,
      because: "an event that is stored is handled later where Stripe does not answer",
    }),
  ),
  {
    endpoint: "stripe-checkout",
    code: "checkout_not_found",
    because: "it renews and confirms the checkout that it has just opened for the same user",
  },
  {
    endpoint: "calculate-task-cost",
    code: "idempotency_key_reused",
    because: "a quote has no key",
  },
];

const sources = ["supabase/functions", "server"]
  .flatMap((folder) => filesBelow(folder, ".ts"))
  .filter((file) => !/\.test\.ts$|-under-test\.ts$|-for-tests\.ts$/.test(file));
const sql = filesBelow("supabase/schemas", ".sql").map((file) => ({
  file,
  source: withoutSqlComments(textOf(file)),
}));

test("SQL refuses with codes of the catalogue, under their status", () => {
  const faults = sql.flatMap(({ file, source }) => {
    const calls = [...source.matchAll(/\brefuse\(/g)].length - (file.endsWith("/refuse.sql") ? 1 : 0);
    const refusals = refusalsIn(source);
    return [
      ...(calls === refusals.length ? [] : [`${file} refuses with a code that is not written there`]),
      ...(/errcode\s*=\s*'PT/.test(source) && !file.endsWith("/refuse.sql")
        ? [`${file} raises a refusal without public.refuse()`]
        : []),
      ...refusals
        .filter(({ code, status }) => !isErrorCode(code) || errorCodes[code].status !== status)
        .map(({ code, status }) => `${file} refuses with ${code}, ${status}`),
    ];
  });
  assertNone(faults, "errors/codes.ts says otherwise:");
});

test("every AppError names a code of the catalogue, where it is made", () => {
  const faults = sources.flatMap((file) => {
    // Here a code comes from SQL, which is held against the catalogue above.
    if (file.endsWith("_shared/database/database.ts")) return [];
    return appErrors(textOf(file))
      .filter(({ codes }) => codes.length === 0 || !codes.every(isErrorCode))
      .map(({ text }) => `${file}: new AppError(${text}`);
  });
  assertNone(faults, "Write the code as a literal of errors/codes.ts:");
});

test("every code of the catalogue is used", () => {
  const used = new Set([
    ...sources.flatMap((file) => appErrors(textOf(file)).flatMap(({ codes }) => codes)),
    ...sql.flatMap(({ source }) => refusalsIn(source).map(({ code }) => code)),
  ]);
  assertNone(
    Object.keys(errorCodes).filter((code) => !used.has(code)),
    "Nothing refuses with these any more:",
  );
});

test("each contract lists the codes that its endpoint may answer with, and no other", () => {
  const common = new Set<string>(commonErrors);
  const faults = endpoints.flatMap(({ contract }) => {
    const { name, callers, scope } = contract;
    const reached = reachedFrom(`supabase/functions/${name}/endpoint.ts`);
    if (callers.includes("personal-access-token") && scope) {
      reached.set("insufficient_scope", ["admission"]);
    }
    for (const { endpoint, code } of impossibleAnswers) {
      if (endpoint === name) assert.ok(reached.delete(code), `${name} has no way to ${code} any more`);
    }
    const listed = new Set<string>(contract.errors);
    return [
      ...[...reached]
        .filter(([code]) => !listed.has(code) && !common.has(code))
        .map(([code, path]) => `${name} may answer ${code}, by ${path.join(" → ")}`),
      ...[...listed].filter((code) => !reached.has(code)).map((code) => `${name} never answers ${code}`),
      ...[...listed].filter((code) => common.has(code)).map((code) => `${name} lists ${code}, as all do`),
    ];
  });
  assertNone(faults, "Change `errors` of the contract, or say in this test why it cannot be:");
});

test("what is said to be impossible is about functions and codes that exist", () => {
  for (const { in: name, code } of impossible) {
    assert.ok(isErrorCode(code), code);
    const callees = calledBy.get(name);
    assert.ok(callees, name);
    const raised = [...callees].flatMap(sqlCodes);
    assert.ok(raised.includes(code), `nothing that ${name} calls refuses with ${code}`);
  }
});

test("the graph follows calls through SQL, triggers and use cases", () => {
  assert.deepEqual(sqlWay("create_task", "insufficient_credits"), [
    "create_task()",
    "create_one_task()",
    "enter_queue()",
    "open_hold()",
    "reserve_credit()",
  ]);
  assert.deepEqual(sqlCodes("take_rate_limit"), ["rate_limited"]);
  assert.deepEqual(sqlCodes("token_summary"), []);
  assert.ok(calledBy.get("reserve_credit")?.has("broadcast_balance"), "a trigger of the table it writes");
  assert.deepEqual([...reachedFrom("supabase/functions/list-pats/endpoint.ts").keys()], []);
  assert.deepEqual([...reachedFrom("supabase/functions/revoke-pat/endpoint.ts").keys()].sort(), [
    "invalid_request",
    "token_not_found",
  ]);
});

test("docs/errors.md is up to date", () => {
  assert.equal(textOf("docs/errors.md"), errorsPage(), "run `npm run generate documents`");
});

interface MadeError {
  codes: string[];
  /** Where it is made, for people. */
  text: string;
}

/** The errors that a text makes, with every code that stands as first argument. */
function appErrors(source: string): MadeError[] {
  return [...source.matchAll(/\bnew AppError\(/g)].map((match) => {
    let depth = 0;
    let argument = "";
    for (const character of source.slice(match.index + match[0].length)) {
      if (depth === 0 && (character === "," || character === ")")) break;
      if ("([{".includes(character)) depth++;
      if (")]}".includes(character)) depth--;
      argument += character;
    }
    // `condition ? "one" : "other"`: what is compared before the question mark is no code.
    const chosen = argument.includes("?") ? argument.slice(argument.indexOf("?")) : argument;
    const codes = [...chosen.matchAll(/"(\w+)"/g)].map((found) => found[1] ?? "");
    return { codes, text: argument.trim() };
  });
}

/** SQL function → the functions that it calls, and those of triggers on the tables that it writes. */
const calledBy = sqlGraph();

function sqlGraph(): Map<string, Set<string>> {
  const functions = new Map(sqlFunctions().map(({ name, source }) => [name, source]));
  const triggers = sql
    .filter(({ file }) => file.endsWith("/triggers.sql"))
    .flatMap(({ source }) => [
      ...source.matchAll(/create\s+trigger\s[^;]*?\bon\s+([\w.]+)[^;]*?execute\s+function\s+public\.(\w+)/g),
    ])
    // What clients write over REST, as themselves, is no endpoint's.
    .filter(([text]) => !text.includes("current_user in ("))
    .map(([, table = "", name = ""]) => ({ table, name }));
  return new Map(
    [...functions].map(([name, source]) => {
      const written = [...source.matchAll(/\b(?:insert\s+into|update|delete\s+from)\s+([\w]+\.[\w]+)/g)];
      const tables = new Set(written.map(([, table = ""]) => table));
      const callees = [
        ...[...source.matchAll(/\bpublic\.(\w+)\s*\(/g)].map(([, callee = ""]) => callee),
        ...triggers.filter(({ table }) => tables.has(table)).map((trigger) => trigger.name),
      ];
      return [name, new Set(callees.filter((callee) => callee !== name && functions.has(callee)))];
    }),
  );
}

/** SQL function → code that it may refuse with → the callee it comes from, or itself. */
const sqlRefusals = spreadRefusals();

/** Spreads refusals from callees to callers until nothing is added: calls may go in circles. */
function spreadRefusals(): Map<string, Map<string, string>> {
  const refusals = new Map(
    sqlFunctions().map(({ name, source }) => [
      name,
      new Map(refusalsIn(source).map(({ code }): [string, string] => [code, name])),
    ]),
  );
  for (let grew = true; grew;) {
    grew = false;
    for (const [name, callees] of calledBy) {
      const own = refusals.get(name);
      for (const callee of callees) {
        for (const code of refusals.get(callee)?.keys() ?? []) {
          const excused = impossible.some((excuse) => excuse.in === name && excuse.code === code);
          if (!own || excused || own.has(code)) continue;
          own.set(code, callee);
          grew = true;
        }
      }
    }
  }
  return refusals;
}

function sqlCodes(name: string): string[] {
  return [...(sqlRefusals.get(name)?.keys() ?? [])];
}

/** The calls by which a SQL function comes to a refusal. */
function sqlWay(name: string, code: string): string[] {
  const next = sqlRefusals.get(name)?.get(code);
  return [`${name}()`, ...(next === undefined || next === name ? [] : sqlWay(next, code))];
}

/** What comes with the request's context, so that no import leads to it. */
const ofContext = [
  { calls: /\bstorage\.(upload|signUpload|remove|copy)\(/, file: "media/storage.ts", made: "createStorage" },
  { calls: /\bstripe\.(ask|client|webhookSecrets)\(/, file: "billing/stripe.ts", made: "createStripe" },
  {
    calls: /\bmodel\.(complete|stream|transcribe)\(/,
    file: "prompts/language-model.ts",
    made: "createLanguageModel",
  },
];

/** Codes that a TypeScript file's code may end with → the calls that lead there; from functions alone, if named. */
function reachedFrom(
  file: string,
  name?: string,
  path: readonly string[] = [],
  seen = new Set<string>(),
): Map<string, string[]> {
  const codes = new Map<string, string[]>();
  const key = `${file}#${name ?? ""}`;
  if (seen.has(key)) return codes;
  seen.add(key);
  const source = textOf(file);
  const functions = functionTexts(source);
  // An endpoint is no function: all of its file counts.
  const text = name === undefined ? source : (functions.get(name) ?? "");
  const here = name === undefined ? path : [...path, name];
  const add = (found: Map<string, string[]>): void => {
    for (const [code, way] of found) if (!codes.has(code)) codes.set(code, way);
  };
  for (const { codes: made } of appErrors(text)) add(new Map(made.map((code) => [code, [...here]])));
  for (const call of sqlCalls(file, text)) {
    add(new Map(sqlCodes(call.name).map((code) => [code, [...here, ...sqlWay(call.name, code)]])));
  }
  for (const { calls, file: provided, made } of ofContext) {
    if (calls.test(text)) add(reachedFrom(`supabase/functions/_shared/${provided}`, made, here, seen));
  }
  const used = (local: string): boolean => new RegExp(`\\b${local}\\b`).test(text);
  for (const local of functions.keys()) {
    if (local !== name && name !== undefined && used(local)) add(reachedFrom(file, local, here, seen));
  }
  for (const imported of importsOf(file, source)) {
    if (
      imported.file === undefined ||
      imported.isType ||
      /_shared\/(http|errors|database)\//.test(imported.file)
    ) {
      continue;
    }
    for (const [local, original] of imported.names) {
      if (used(local)) add(reachedFrom(imported.file, original, here, seen));
    }
  }
  return codes;
}
