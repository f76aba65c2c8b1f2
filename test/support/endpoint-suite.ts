import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { connect } from "../../supabase/functions/_shared/database/database.ts";
import { errorCodes, isErrorCode } from "../../supabase/functions/_shared/errors/codes.ts";
import { bind, type Environment } from "../../supabase/functions/_shared/http/bind.ts";
import { type Endpoint, methodsOf, scopes } from "../../supabase/functions/_shared/http/endpoint.ts";
import { bodySchema, errorsOf, statusesOf } from "../../supabase/functions/_shared/http/openapi.ts";
import { listedFields } from "../../supabase/functions/_shared/http/unknown-fields.ts";
import { createProcessLimit } from "../../supabase/functions/_shared/limits/process-limit.ts";
import { type EnvironmentUnderTest, startEnvironment } from "./environment.ts";
import { type FakeFal, startFakeFal } from "./fake-fal.ts";
import { type FakeStripe, startFakeStripe } from "./fake-stripe.ts";

type Credentials = Record<string, string>;
export type Body = Record<string, unknown>;

export interface EndpointAnswer {
  status: number;
  headers: Headers;
  body: Body;
  text: string;
}

/** Where a case runs: one database for all of an endpoint's cases, new people for each. */
export interface EndpointUnderTest extends EnvironmentUnderTest {
  /** Stripe, played; the endpoint's settings point at it. */
  fakeStripe: FakeStripe;
  /** FAL, played, with its webhook switched on. */
  fakeFal: FakeFal;
  /** One request; whatever it answers is held against the contract, and noted as seen. */
  call(body: unknown, credentials: Credentials, options?: CallOptions): Promise<EndpointAnswer>;
  /** The same, where only a refusal with this code will do. */
  refused(
    code: string,
    body: unknown,
    credentials: Credentials,
    options?: CallOptions,
  ): Promise<EndpointAnswer>;
}

export interface CallOptions {
  method?: string;
  /** `?field=value`, for GET. */
  query?: string;
  headers?: Record<string, string>;
  /** Differences of the environment, such as a service that is down. */
  environment?: Partial<Environment>;
  /** Differences of the contract, such as a smaller limit. */
  contract?: Partial<Endpoint["contract"]>;
}

export interface EndpointSuite {
  /** A request that succeeds, with everything made that it needs; asked anew for every test. */
  accepted(under: EndpointUnderTest): Promise<{ body: Body; credentials: Credentials }>;
  /** One test for each status and code of this endpoint's own. */
  cases: Record<string, (under: EndpointUnderTest) => Promise<void>>;
}

const falWebhook = "https://darkroom.test/functions/v1/fal-webhook";

/** Codes that only a broken surrounding brings; the fault tests below see to their statuses. */
const faults = new Set(["internal_error", "database_unavailable"]);

/**
 * Tests an endpoint at its own edge: what every endpoint promises, its own cases, and that no documented
 * status or code of its own is left without a test.
 */
export function describeEndpoint(endpoint: Endpoint, { accepted, cases }: EndpointSuite): void {
  const { contract } = endpoint;
  const isForAnyone = contract.callers.includes("anyone");
  const seenStatuses = new Set<number>();
  const seenCodes = new Set<string>();

  describe(contract.name, () => {
    let under: EndpointUnderTest;
    before(async () => {
      const fakeStripe = await startFakeStripe();
      const fakeFal = await startFakeFal();
      const started = await startEnvironment({
        billing: { ...fakeStripe.variables, FRONTEND_URL: "https://app.darkroom.test" },
        fal: { ...fakeFal.variables, FAL_WEBHOOK: falWebhook },
      });
      const call: EndpointUnderTest["call"] = async (body, credentials, options = {}) => {
        const answer = await send(endpoint, started.environment, body, credentials, options);
        seenStatuses.add(answer.status);
        if (typeof answer.body["error"] === "string") seenCodes.add(answer.body["error"]);
        return answer;
      };
      under = {
        ...started,
        async close() {
          await Promise.all([started.close(), fakeStripe.close(), fakeFal.close()]);
        },
        fakeStripe,
        fakeFal,
        call,
        async refused(code, ...request) {
          const answer = await call(...request);
          assert.equal(answer.body["error"], code, answer.text);
          return answer;
        },
      };
    });
    after(() => under?.close());

    for (const [title, run] of Object.entries(cases)) test(title, () => run(under));

    test("answers the request that the other tests spoil", async () => {
      const { body, credentials } = await accepted(under);
      const { status, text } = await under.call(body, credentials);
      assert.ok(contract.answers[status], text);
    });

    test("400: what is no JSON object", async () => {
      const { credentials } = await accepted(under);
      for (const text of [
        "{",
        "nothing",
        "[]",
        "null",
        '"text"',
        "\ufeff{",
        "\0",
        `${'{"a":'.repeat(100)}1${"}".repeat(100)}`,
      ]) {
        const { status, body } = await under.call(text, credentials, unlimited);
        // Clients that send no body, or a broken one, are served where the body is optional.
        if (contract.bodyOptional && contract.unknownFields !== "refused") {
          assert.ok(contract.answers[status], `${text}: ${status}`);
        } else assert.equal(body["error"], "invalid_json", text);
      }
    });

    test("400: fields of a wrong type; what else they hold is no 500", async () => {
      const { body, credentials } = await accepted(under);
      const field = Object.keys(body).length > 0;
      for (const name of Object.keys(body)) {
        const isObject = typeof body[name] === "object" && !Array.isArray(body[name]);
        // Where the body may hold anything, the signature alone decides.
        await under.refused(
          contract.signed && contract.madeSafe?.includes(name) ? "invalid_signature" : "invalid_request",
          { ...body, [name]: isObject ? 5 : { wrong: true } },
          credentials,
          unlimited,
        );
        for (const odd of [
          "",
          "\0",
          "\ud800",
          "x".repeat(70_000),
          -1,
          1e308,
          [],
          [null],
          true,
          null,
          { "\0": "\0" },
        ]) {
          const { status, text } = await under.call({ ...body, [name]: odd }, credentials, unlimited);
          assert.ok(status < 500, `${name} = ${JSON.stringify(odd).slice(0, 40)}: ${text}`);
        }
      }
      if (!field)
        await under.refused("invalid_request", "{}", credentials, { headers: { "content-length": "few" } });
    });

    const unknownTitle =
      "400: a field that the endpoint does not know, where such fields are refused; ignored elsewhere";
    // What is signed is signed as a whole.
    test(unknownTitle, { skip: contract.signed }, async () => {
      const { body, credentials } = await accepted(under);
      const sent = { ...body, no_such_field: "\ud800" };
      const { status, text } = await under.call(sent, credentials, unlimited);
      if (contract.unknownFields !== "refused") {
        // A body that is signed is refused whatever was added to it.
        const isSigned = contract.errors.includes("invalid_signature");
        assert.ok(contract.answers[status] ?? (isSigned && status === 400), text);
        return;
      }
      const refused = await under.refused("unknown_field", sent, credentials, unlimited);
      assert.equal(refused.body["field"], "no_such_field");
      for (const name of listedFields(bodySchema(contract)) ?? []) {
        // Other spellings of a field are no fields either.
        const spellings = [name.toUpperCase(), name.replace(/_/g, "-"), name.replace(/_/g, ""), `${name}s`];
        for (const spelling of spellings.filter((one) => one !== name)) {
          const answer = await under.refused("unknown_field", { [spelling]: null }, credentials, unlimited);
          const letters = (text: unknown) => String(text).replace(/_/g, "").toLowerCase();
          assert.equal(letters(answer.body["did_you_mean"]), letters(name), spelling);
        }
      }
    });

    test("400: text that is not Unicode, NUL and numbers out of range, with the field", async () => {
      const { body, credentials } = await accepted(under);
      for (const name of listedFields(bodySchema(contract)) ?? []) {
        if (contract.madeSafe?.includes(name)) continue;
        for (const odd of ['"\\ud800"', '"a\\u0000"', '["\\udc00"]', "1e999", '{"a":{"\\ud800":1}}']) {
          const fields = Object.entries({ ...body, [name]: "?" }).map(([key, value]) => [
            JSON.stringify(key),
            key === name ? odd : JSON.stringify(value),
          ]);
          const sent = `{${fields.map((pair) => pair.join(":")).join(",")}}`;
          const answer = await under.refused("invalid_request", sent, credentials, unlimited);
          const [issue] = answer.body["issues"] as { path: string }[];
          assert.equal(issue?.path.split(".")[0], name, answer.text);
        }
      }
    });

    test("ids of nothing are refused by a code, not a failure", async () => {
      const { body, credentials } = await accepted(under);
      for (const [name, value] of Object.entries(body)) {
        if (typeof value !== "string" || !/^[0-9a-f-]{36}$/.test(value)) continue;
        const { status, text } = await under.call({ ...body, [name]: randomUUID() }, credentials);
        assert.ok(status < 500, `${name}: ${text}`);
      }
    });

    const strangersTitle = isForAnyone
      ? "whoever calls is answered, whatever they show"
      : "401: whoever shows nothing that is valid, before the body is looked at";
    test(strangersTitle, { skip: contract.signed }, async () => {
      const { keys } = under;
      const { body } = await accepted(under);
      const person = await under.person();
      const revoked = await person.token();
      await under.sql`update personal_access_tokens set revoked_at = now() where id = ${revoked.id}`;
      const strangers: Credentials[] = [
        {},
        { apikey: keys.anonKey },
        { apikey: keys.publishableKey },
        { authorization: `Bearer ${keys.anonKey}` },
        { authorization: `Bearer ${keys.secretKey}` },
        { authorization: `Bearer ${keys.serviceRoleKey}x` },
        { authorization: keys.serviceRoleKey },
        { authorization: "Bearer dr_pat_000000000000000000000000000000000000" },
        { authorization: "Bearer not.a.token" },
        { apikey: keys.publishableKey, authorization: "Bearer " },
        revoked.credentials,
      ];
      for (const credentials of isForAnyone ? strangers : []) {
        const { status, text } = await under.call(body, credentials, unlimited);
        assert.ok(contract.answers[status], text);
      }
      for (const credentials of isForAnyone ? [] : strangers) {
        for (const sent of [body, "{"]) {
          const answer = await under.refused("unauthenticated", sent, credentials);
          assert.equal(answer.status, 401);
        }
      }
    });

    test("403: callers that this endpoint is not for", { skip: isForAnyone }, async () => {
      const { body } = await accepted(under);
      const person = await under.person();
      if (!contract.callers.includes("service")) await under.refused("forbidden", body, under.service);
      if (!contract.callers.includes("user")) await under.refused("forbidden", body, person.session);
      if (!contract.callers.includes("personal-access-token")) {
        await under.refused("forbidden", body, (await person.token()).credentials);
      } else if (contract.scope) {
        const others = await person.token(scopes.filter((scope) => scope !== contract.scope));
        const answer = await under.refused("insufficient_scope", body, others.credentials);
        assert.equal(answer.body["scope"], contract.scope);
      }
    });

    test("405 with Allow: every method but its own; OPTIONS lets browsers in", async () => {
      const others = ["GET", "HEAD", "PUT", "PATCH", "DELETE"];
      for (const method of others.filter((name) => !methodsOf(contract).includes(name))) {
        const answer = await under.call(undefined, under.service, { method });
        assert.equal(answer.status, 405, method);
        assert.equal(answer.headers.get("allow"), [...methodsOf(contract), "OPTIONS"].join(", "));
      }
      const preflight = await bind(endpoint, under.environment)(request("OPTIONS", undefined, {}));
      assert.equal(preflight.status, 200);
      assert.match(preflight.headers.get("access-control-allow-methods") ?? "", /POST/);
      for (const header of ["authorization", "apikey", "content-type", "x-client-info", "idempotency-key"]) {
        assert.ok(preflight.headers.get("access-control-allow-headers")?.includes(header), header);
      }
    });

    test("413: a body beyond the limit, announced or not", async () => {
      const { credentials } = await accepted(under);
      const limit = contract.bodyLimit ?? 1024 * 1024;
      const announced = await under.refused("body_too_large", "{}", credentials, {
        headers: { "content-length": String(limit + 1) },
      });
      assert.equal(announced.status, 413);
      assert.equal(announced.body["limit_bytes"], limit);
      const chunked = spaces(limit + 1);
      await under.refused("body_too_large", chunked.stream, credentials);
      assert.ok(chunked.sent() <= limit + 2 * chunkBytes, "reading stops at the limit");
    });

    test("415: a compressed body", async () => {
      const { body, credentials } = await accepted(under);
      const headers = { "content-encoding": "gzip" };
      const answer = await under.refused("unsupported_media_type", body, credentials, { headers });
      assert.equal(answer.status, 415);
    });

    test("429 with Retry-After: more requests than the limit", async () => {
      const { body, credentials } = await accepted(under);
      // Refused by its body where there is one to spoil: so it counts where only refused calls do.
      const [name] = Object.keys(body);
      const counted = name === undefined ? body : { [name]: { wrong: true } };
      const options = {
        contract: { requestsPerMinute: 2 },
        environment: { processLimit: createProcessLimit(), serviceRequestsPerMinute: 2 },
      };
      const answers = [];
      for (let turn = 0; turn < 3; turn++) answers.push(await under.call(counted, credentials, options));
      assert.deepEqual(
        answers.map(({ status, headers }) => [status === 429, headers.get("x-ratelimit-limit")]).slice(0, 2),
        [
          [false, "2"],
          [false, "2"],
        ],
      );
      const last = answers.at(-1);
      assert.equal(last?.body["error"], "rate_limited", last?.text);
      const wait = Number(last?.headers.get("retry-after"));
      assert.ok(wait >= 1 && wait <= 66, `Retry-After is ${wait}`);
    });

    test("503 with Retry-After while the database is down; nothing of the cause is told", async () => {
      const { body, credentials } = await accepted(under);
      const database = connect({ url: "postgres://nobody@127.0.0.1:1/nowhere", connections: 1 });
      try {
        const answer = await under.refused("database_unavailable", body, credentials, {
          environment: { database },
        });
        assert.equal(answer.status, 503);
        assert.deepEqual(Object.keys(answer.body), ["error", "message", "request_id", "retry_after"]);
        assert.doesNotMatch(answer.text, /ECONN|127\.0\.0\.1|nowhere/);
      } finally {
        await database.close();
      }
    });

    test("499 for a client that hangs up in its body; logged as that, at a low level", async () => {
      const { credentials } = await accepted(under);
      const body = new ReadableStream({
        pull(controller) {
          controller.error(Object.assign(new Error("aborted"), { code: "ECONNRESET" }));
        },
      });
      const answer = await under.refused("client_closed_request", body, credentials, unlimited);
      const logged = under
        .logged()
        .split("\n")
        .filter((line) => line.includes(String(answer.body["request_id"])))
        .map((line) => JSON.parse(line) as { level: number; msg: string });
      assert.deepEqual(
        logged.map(({ level, msg }) => [level, msg]),
        [[30, "client_closed_request"]],
      );
    });

    test("500 for a failure that nobody foresaw; bare, and logged whole", async () => {
      const { body, credentials } = await accepted(under);
      // Names that this isolate has prepared are planned anew, and fail.
      await under.sql.query("alter schema public rename to moved_away");
      try {
        const answer = await under.refused("internal_error", body, credentials);
        assert.equal(answer.status, 500);
        assert.deepEqual(Object.keys(answer.body), ["error", "message", "request_id"]);
        assert.equal(answer.body["message"], errorCodes.internal_error.message);
        const logged = under
          .logged()
          .split("\n")
          .find((line) => line.includes(String(answer.body["request_id"])));
        assert.match(logged ?? "", /does not exist/);
      } finally {
        await under.sql.query("alter schema moved_away rename to public");
      }
    });

    test("every documented status, and every code of its own, has a test", () => {
      const untested = [
        ...statusesOf(contract).filter((status) => !seenStatuses.has(status)),
        ...contract.errors.filter((code) => !seenCodes.has(code)),
      ];
      assert.deepEqual(untested, []);
    });
  });

  async function send(
    { contract: usual, run }: Endpoint,
    environment: Environment,
    body: unknown,
    credentials: Credentials,
    {
      method = "POST",
      query = "",
      headers,
      environment: otherEnvironment,
      contract: otherContract,
    }: CallOptions,
  ): Promise<EndpointAnswer> {
    const requestId = randomUUID();
    const handle = bind(
      { contract: { ...usual, ...otherContract }, run },
      { ...environment, ...otherEnvironment },
    );
    const response = await handle(
      request(method, body, { ...credentials, ...headers, "x-request-id": requestId }, query),
    );
    const text = await response.text();
    const answer = { status: response.status, headers: response.headers, text, body: jsonOf(response, text) };
    assert.equal(response.headers.get("x-request-id"), requestId);
    assert.equal(response.headers.get("access-control-allow-origin"), "*");
    assert.ok(statusesOf(usual).includes(answer.status), `${answer.status} is not documented: ${text}`);
    if (answer.status >= 400) assertRefusal(usual, answer, requestId);
    return answer;
  }
}

/** The one format of errors, and only codes that the contract lists. */
function assertRefusal(contract: Endpoint["contract"], answer: EndpointAnswer, requestId: string): void {
  const { error, message, request_id } = answer.body;
  assert.ok(typeof error === "string" && isErrorCode(error), answer.text);
  assert.ok(errorsOf(contract).includes(error), `${error} is not documented for ${contract.name}`);
  assert.equal(answer.status, errorCodes[error].status);
  // The refusals whose sentence says which file, or which limit, it is about.
  if (error === "invalid_output") assert.match(String(message), /"[^"]+\/tasks\/[^"]+"/);
  else if (error === "task_limit_reached") assert.match(String(message), /at most \d+/);
  else assert.equal(message, errorCodes[error].message);
  assert.equal(request_id, requestId);
  assert.match(answer.headers.get("content-type") ?? "", /^application\/json/);
  if (answer.status === 429 || answer.status === 503)
    assert.ok(answer.headers.get("retry-after"), answer.text);
  assert.ok(faults.has(error) || answer.status !== 500);
}

function request(method: string, body: unknown, headers: Record<string, string>, query = ""): Request {
  const hasBody = body !== undefined && method !== "GET" && method !== "HEAD" && method !== "OPTIONS";
  const isForm = body instanceof FormData;
  const isRaw = typeof body === "string" || body instanceof ReadableStream || isForm;
  const content = isRaw ? body : JSON.stringify(body);
  return new Request(`http://darkroom.test/functions/v1/under-test${query}`, {
    method,
    // A form's type has the line between its parts, which only it knows.
    headers: { ...(!isForm && { "content-type": "application/json" }), ...headers },
    ...(hasBody && { body: content, duplex: "half" }),
  } as RequestInit);
}

function jsonOf({ headers }: Response, text: string): Body {
  const isJson = headers.get("content-type")?.startsWith("application/json");
  return text === "" || !isJson ? {} : (JSON.parse(text) as Body);
}

const chunkBytes = 64 * 1024;

/** For tests that make more calls than the limits of some endpoints allow. */
const unlimited: CallOptions = { contract: { requestsPerMinute: 1_000_000 } };

/** Blanks, made as they are read: nobody announces how many. */
function spaces(total: number): { stream: ReadableStream<Uint8Array>; sent(): number } {
  let sent = 0;
  const chunk = new Uint8Array(chunkBytes).fill(0x20);
  return {
    sent: () => sent,
    stream: new ReadableStream({
      pull(controller) {
        sent += chunk.byteLength;
        controller.enqueue(chunk);
        if (sent >= total + 10 * chunkBytes) controller.close();
      },
    }),
  };
}
