import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { endpoints } from "../../server/functions/registry.ts";
import { methodsOf } from "../../supabase/functions/_shared/http/endpoint.ts";
import {
  type Credentials,
  type Person,
  personWithProject,
  post,
  service,
  succeed,
  tokenOf,
} from "../support/calls.ts";
import { hostileValues, jsonObject } from "../support/hostile-values.ts";
import { type HostUnderTest, hosts } from "../support/hosts.ts";
import { inParallel, randomFrom, shuffled } from "../support/orders.ts";

/** The same requests in every run of a seed; for longer ones, `DARKROOM_FUZZ_RUNS=200000 DARKROOM_CHECK_SEED=7`. */
const seed = Number(process.env["DARKROOM_CHECK_SEED"] ?? 12);
const runs = Number(process.env["DARKROOM_FUZZ_RUNS"] ?? 1_200);
const atOnce = 12;

interface Schema {
  type?: string | string[];
  properties?: Record<string, Schema>;
  required?: string[];
  enum?: unknown[];
  const?: unknown;
  pattern?: string;
  minimum?: number;
  items?: Schema;
  anyOf?: Schema[];
}

interface OpenApi {
  paths: Record<string, { post: { requestBody: { content: { "application/json": { schema: Schema } } } } }>;
}

interface Sent {
  method: string;
  path: string;
  credentials: Credentials;
  headers?: Record<string, string>;
  body?: string;
}

/** What a provider that is not there makes of a request, and a refusal to serve more. */
const documented = /"error":"provider_\w+"/;

describe("requests that no honest client sends", () => {
  let host: HostUnderTest;
  let person: Person & { projectId: string };
  let token: Credentials;
  let taskId: string;
  before(async () => {
    host = await hosts[0].start();
    person = await personWithProject(host);
    await host.sql`select add_credit(${person.userId}, 'manual', 100000000)`;
    token = (await tokenOf(person, { scopes: ["tasks:read", "tasks:write", "tasks:run"] })).credentials;
    const order = { task_type: "z_image_turbo", params: { prompt: "a fox" }, project_id: person.projectId };
    ({ task_id: taskId } = await succeed(
      post<{ task_id: string }>(host, "create-task", order, person.credentials),
    ));
  });
  after(() => host?.stop());

  /** Sends all of it, and names what was answered by a failure of ours, or logged as one. */
  async function failuresOf(requests: readonly Sent[]): Promise<string[]> {
    const failures: string[] = [];
    const logged = host.logged().length;
    await inParallel(requests, atOnce, async ({ method, path, credentials, headers, body }, at) => {
      // Else most answers would be that there were too many.
      if (at % 25 === 0) await host.sql`delete from rate_limits`;
      const response = await fetch(`${host.apiUrl}${path}`, {
        method,
        headers: {
          apikey: host.keys.publishableKey,
          "content-type": "application/json",
          ...credentials,
          ...headers,
        },
        ...(body !== undefined && { body }),
      });
      const text = await response.text();
      if (response.status < 500 || documented.test(text)) return;
      failures.push(
        `${response.status} ${method} ${path} ${body?.slice(0, 300) ?? ""} → ${text.slice(0, 300)}`,
      );
    });
    const lines = host.logged().slice(logged).split("\n").filter(Boolean);
    for (const line of lines) {
      const { level, msg, endpoint } = JSON.parse(line) as { level: number; msg: string; endpoint?: string };
      if (level >= 50 && !msg.startsWith("provider_"))
        failures.push(`logged: ${endpoint ?? ""} ${msg}: ${line.slice(0, 500)}`);
    }
    return failures;
  }

  /** One of those that an endpoint is for. */
  function callerOf(name: string, random: () => number): Credentials {
    const callers = endpoints.find(({ contract }) => contract.name === name)?.contract.callers ?? [];
    const able = [
      ...(callers.includes("service") ? [service(host)] : []),
      ...(callers.includes("user") ? [person.credentials] : []),
      ...(callers.includes("personal-access-token") ? [token] : []),
      ...(callers.includes("anyone") ? [{}] : []),
    ];
    return able[Math.floor(random() * able.length)] ?? {};
  }

  /** A value that fits, so that what is wrong is one field and not all of them. */
  function plausible(name: string, schema: Schema): unknown {
    const known: Record<string, unknown> = {
      task_id: taskId,
      project_id: person.projectId,
      userId: person.userId,
      user_id: person.userId,
      task_type: "z_image_turbo",
      params: { prompt: "a fox" },
      worker_id: "worker-1",
      family: undefined,
      file_data: "iVBORw0KGgo=",
      url: "https://hooks.example.com/a",
      scopes: ["tasks:read"],
    };
    if (Object.hasOwn(known, name)) return known[name];
    if (schema.const !== undefined) return schema.const;
    if (schema.enum) return schema.enum[0];
    const [form] = schema.anyOf ?? [];
    if (form) return plausible(name, form);
    const [type] = [schema.type ?? "string"].flat();
    switch (type) {
      case "integer":
      case "number":
        return Math.max(1, schema.minimum ?? 1);
      case "boolean":
        return false;
      case "array":
        return schema.items ? [plausible("", schema.items)] : [];
      case "object":
        return Object.fromEntries(
          Object.entries(schema.properties ?? {}).map(([key, inner]) => [key, plausible(key, inner)]),
        );
      default:
        return schema.pattern?.includes("0-9a-fA-F]{8}") ? randomUUID() : "text";
    }
  }

  test("every field of every endpoint of /openapi.json takes hostile values without a failure", async () => {
    const document = (await (await fetch(`${host.apiUrl}/openapi.json`)).json()) as OpenApi;
    const random = randomFrom(seed);
    const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item;
    const bodies = Object.entries(document.paths).map(([path, { post: operation }]) => ({
      path,
      name: path.split("/").at(-1) ?? "",
      schema: operation.requestBody.content["application/json"].schema,
    }));
    assert.equal(bodies.length, endpoints.length);

    const requests: Sent[] = [];
    const add = (
      { path, name, schema }: (typeof bodies)[number],
      spoiled: ReadonlyMap<string, string>,
    ): void => {
      const fields = new Map<string, string>();
      for (const [field, shape] of Object.entries(schema.properties ?? {})) {
        // Left out at random where it may be; a wait would only take time.
        const isWanted = schema.required?.includes(field) || (random() < 0.4 && field !== "wait_seconds");
        const value = isWanted ? JSON.stringify(plausible(field, shape)) : undefined;
        if (value !== undefined) fields.set(field, value);
      }
      for (const [field, value] of spoiled) fields.set(field, value);
      const contract = endpoints.find((one) => one.contract.name === name)?.contract;
      const asQuery = contract && methodsOf(contract).includes("GET") && random() < 0.2;
      const query = new URLSearchParams([...fields].map(([field, value]) => [field, value]));
      requests.push({
        method: asQuery ? "GET" : "POST",
        path: asQuery ? `${path}?${query.toString().slice(0, 8_000)}` : path,
        credentials: callerOf(name, random),
        ...(!asQuery && { body: jsonObject(fields) }),
        ...(random() < 0.1 && { headers: { "idempotency-key": pick(["x".repeat(300), "é", " ", "'"]) } }),
      });
    };
    // Each field with what has been a failure before, then any fields with any values.
    for (const body of bodies) {
      for (const field of Object.keys(body.schema.properties ?? {})) {
        for (const value of [hostileValues[0], hostileValues[2], pick(hostileValues)]) {
          add(body, new Map([[field, value ?? ""]]));
        }
      }
    }
    while (requests.length < runs) {
      const body = pick(bodies);
      const fields = Object.keys(body.schema.properties ?? {});
      const spoiled = [1, 2, 3].slice(0, 1 + Math.floor(random() * 3)).map((): [string, string] => {
        return [random() < 0.05 ? "__proto__" : (pick(fields) ?? "x"), pick(hostileValues)];
      });
      add(body, new Map(spoiled));
    }
    assert.deepEqual(await failuresOf(requests), []);
  });

  test("REST, storage, auth and realtime take hostile text in paths, queries, headers and bodies without a failure", async () => {
    const all = [service(host), person.credentials, {}];
    const texts = [
      "%00",
      "%ff",
      "%ed%a0%80",
      "a%00b",
      "%",
      "%zz",
      "..%2f..%2f",
      "%EF%BF%BF",
      "%0d%0a",
      "%F0%9F%A6",
      "'%22;--",
      "*",
      "(",
      ")",
      ",",
      ".",
      " ",
      "%E2%80%AE",
      "null",
      "-1",
      "1e999",
      "9".repeat(400),
      "x".repeat(2_000),
      "->".repeat(50),
      "(".repeat(200),
      "not.".repeat(50),
    ];
    const requests: Sent[] = [];
    for (const text of texts) {
      for (const credentials of all) {
        for (const path of [
          `/rest/v1/${text}`,
          `/rest/v1/tasks?id=eq.${text}`,
          `/rest/v1/tasks?${text}=eq.1`,
          `/rest/v1/tasks?select=${text}`,
          `/rest/v1/tasks?params->>${text}=eq.1`,
          `/rest/v1/tasks?or=(${text})`,
          `/rest/v1/tasks?order=${text}`,
          `/rest/v1/tasks?limit=${text}`,
          `/rest/v1/tasks?status=in.(${text})`,
          `/rest/v1/tasks?task_type=imatch.${text}`,
          `/rest/v1/tasks?task_type=fts.${text}`,
          `/rest/v1/all_tasks?id=eq.${text}&select=*`,
          `/rest/v1/rpc/${text}`,
          `/rest/v1/tasks?select=id::${text}`,
          `/storage/v1/object/public/image_uploads/${text}`,
          `/storage/v1/object/${text}/a.png`,
          `/storage/v1/object/sign/image_uploads/a?token=${text}`,
          `/storage/v1/object/info/image_uploads/a/${text}`,
          `/storage/v1/bucket/${text}`,
          `/auth/v1/${text}`,
          `/auth/v1/admin/users/${text}`,
          `/auth/v1/admin/users?page=${text}&per_page=${text}`,
          `/auth/v1/user?x=${text}`,
          `/realtime/v1/${text}`,
          `/functions/v1/${text}`,
          `/${text}`,
        ])
          requests.push({ method: "GET", path, credentials });
        for (const [method, path] of [
          ["DELETE", `/rest/v1/tasks?id=eq.${text}`],
          ["DELETE", `/rest/v1/all_tasks?id=eq.${text}`],
          ["DELETE", `/storage/v1/object/image_uploads/${text}`],
          ["POST", `/storage/v1/object/image_uploads/${person.userId}/${text}`],
          ["POST", `/storage/v1/object/upload/sign/image_uploads/${text}`],
          ["PUT", `/storage/v1/object/upload/sign/image_uploads/${text}?token=${text}`],
          ["POST", `/auth/v1/token?grant_type=${text}`],
          ["POST", `/realtime/v1/api/broadcast/${text}/events/${text}`],
          ["POST", `/auth/v1/logout?scope=${text}`],
        ] as const)
          requests.push({ method, path, credentials, ...(method !== "DELETE" && { body: "{}" }) });
      }
    }
    // What has been a failure before; of all the rest, as many as there is time for.
    const always: Sent[] = [];
    const id = "00000000-0000-0000-0000-000000000001";
    for (const view of ["all_tasks", "user_credit_balance"]) {
      const column = view === "all_tasks" ? "id" : "user_id";
      for (const method of ["DELETE", "PATCH", "POST", "PUT"]) {
        const path = method === "POST" ? `/rest/v1/${view}` : `/rest/v1/${view}?${column}=eq.${id}`;
        const body = method === "DELETE" ? {} : { body: JSON.stringify({ [column]: id }) };
        for (const prefer of [
          "return=minimal",
          "return=representation",
          "resolution=merge-duplicates",
          "resolution=ignore-duplicates",
        ]) {
          for (const credentials of all)
            always.push({ method, path, credentials, headers: { prefer }, ...body });
        }
      }
    }
    for (const count of [999, 1_500, 1_664, 3_000]) {
      const many = (item: string, separator = ",") => Array<string>(count).fill(item).join(separator);
      for (const query of [
        `select=${many("id")}`,
        `select=${many("*")}`,
        `select=id,projects(${many("id")})`,
        `order=${many("id")}`,
        many("id=not.is.null", "&"),
        `or=(${many("id.is.null")})`,
      ]) {
        always.push({ method: "GET", path: `/rest/v1/tasks?${query}`, credentials: service(host) });
      }
    }
    for (const value of hostileValues) {
      const bodies: [method: string, path: string, fields: string[]][] = [
        ["POST", "/rest/v1/projects", ["name", "user_id", "settings"]],
        ["PATCH", `/rest/v1/tasks?id=eq.${taskId}`, ["status", "updated_at"]],
        ["POST", "/rest/v1/tasks", ["params", "task_type", "project_id", "dependant_on", "priority"]],
        ["POST", "/rest/v1/rpc/uuid_or_null", ["value"]],
        ["POST", "/rest/v1/system_logs", ["message", "metadata"]],
        ["POST", "/rest/v1/workers?on_conflict=id", ["id", "metadata", "status", "last_heartbeat"]],
        ["POST", "/storage/v1/object/list/image_uploads", ["prefix", "search", "limit", "offset", "sortBy"]],
        ["POST", "/storage/v1/object/sign/image_uploads", ["paths", "expiresIn"]],
        [
          "POST",
          "/storage/v1/object/copy",
          ["bucketId", "sourceKey", "destinationKey", "destinationBucket", "metadata"],
        ],
        ["POST", "/storage/v1/object/move", ["bucketId", "sourceKey", "destinationKey"]],
        ["DELETE", "/storage/v1/object/image_uploads", ["prefixes"]],
        ["POST", "/auth/v1/signup", ["email", "password", "data"]],
        ["POST", "/auth/v1/token?grant_type=password", ["email", "password"]],
        ["POST", "/auth/v1/token?grant_type=refresh_token", ["refresh_token"]],
        ["PUT", "/auth/v1/user", ["data", "email"]],
        ["POST", "/auth/v1/admin/users", ["email", "id", "user_metadata", "ban_duration"]],
        ["PUT", `/auth/v1/admin/users/${person.userId}`, ["user_metadata", "app_metadata", "ban_duration"]],
        ["POST", "/realtime/v1/api/broadcast", ["messages"]],
      ];
      for (const [method, path, fields] of bodies) {
        const usual: Record<string, string> = {
          expiresIn: "60",
          paths: '["a"]',
          bucketId: '"image_uploads"',
          sourceKey: '"a"',
          destinationKey: '"b"',
          email: `"${randomUUID()}@x.example"`,
          password: '"a long password"',
          task_type: '"z_image_turbo"',
          params: "{}",
          project_id: `"${person.projectId}"`,
          id: `"${randomUUID()}"`,
        };
        for (const field of fields) {
          const body = new Map(fields.flatMap((name) => (usual[name] ? [[name, usual[name]] as const] : [])));
          body.set(field, value);
          for (const credentials of [service(host), person.credentials]) {
            // Who is signed in shall stay so, whatever becomes of others.
            if (path.includes(person.userId) && field === "ban_duration") continue;
            requests.push({ method, path, credentials, body: jsonObject(body) });
          }
        }
        requests.push({ method, path, credentials: service(host), body: value });
      }
      const message = jsonObject(
        new Map([
          ["topic", value],
          ["event", '"e"'],
          ["payload", value],
        ]),
      );
      requests.push({
        method: "POST",
        path: "/realtime/v1/api/broadcast",
        credentials: service(host),
        body: `{"messages":[${message}]}`,
      });
      requests.push({
        method: "POST",
        path: `/storage/v1/object/image_uploads/${person.userId}/${randomUUID()}.txt`,
        credentials: service(host),
        headers: {
          "content-type": "text/plain",
          "x-metadata": Buffer.from(value).toString("base64"),
          "x-upsert": value.slice(0, 20).replace(/[^ -~]/g, ""),
        },
        body: "x",
      });
    }
    const chosen = shuffled(requests, randomFrom(seed)).slice(0, runs);
    assert.deepEqual(await failuresOf([...always, ...chosen]), []);
  });

  test("a client that hangs up in its body is counted as 499 and logged at a low level, on every path", async () => {
    const logged = host.logged().length;
    const { port, hostname } = new URL(host.apiUrl);
    const key = host.keys.serviceRoleKey;
    const routes = [
      ["POST", "/functions/v1/create-task", "functions/v1/create-task"],
      ["POST", "/functions/v1/ai-voice-prompt", "functions/v1/ai-voice-prompt"],
      ["POST", "/rest/v1/projects", "rest/v1"],
      ["POST", "/rest/v1/rpc/doctor", "rest/v1"],
      ["POST", "/auth/v1/admin/users", "auth/v1"],
      ["POST", "/storage/v1/object/list/image_uploads", "storage/v1"],
      ["POST", `/storage/v1/object/image_uploads/${person.userId}/cut.txt`, "storage/v1"],
      ["POST", "/realtime/v1/api/broadcast", "realtime/v1"],
    ] as const;
    for (const [method, path] of routes) {
      const socket = connect(Number(port), hostname);
      await once(socket, "connect");
      socket.write(
        `${method} ${path} HTTP/1.1\r\nhost: ${hostname}\r\napikey: ${key}\r\nauthorization: Bearer ${key}\r\n` +
          `content-type: ${path.includes("cut.txt") ? "text/plain" : "application/json"}\r\ncontent-length: 1000\r\n\r\n{"a":`,
      );
      // The body has begun to be read when its headers have been acted on.
      await new Promise((resolve) => setTimeout(resolve, 150));
      socket.destroy();
    }
    const wanted = new Map<string, number>();
    for (const [, , route] of routes) wanted.set(`/${route}`, (wanted.get(`/${route}`) ?? 0) + 1);
    const counted = async () => {
      const text = await (await fetch(`${host.apiUrl}/metrics`)).text();
      const lines = text.matchAll(
        /request_seconds_count\{method="\w+",route="([^"]+)",status="499"\} (\d+)/g,
      );
      return new Map([...lines].map(([, route = "", count]) => [route, Number(count)]));
    };
    for (let look = 0; look < 100; look++) {
      const now = await counted();
      if ([...wanted].every(([route, count]) => (now.get(route) ?? 0) >= count)) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.deepEqual(Object.fromEntries(await counted()), Object.fromEntries(wanted));
    const lines = host
      .logged()
      .slice(logged)
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { level: number; msg: string });
    assert.deepEqual(
      lines.filter(({ level }) => level >= 40),
      [],
    );
    assert.equal(
      lines.filter(({ msg, level }) => msg === "client_closed_request" && level === 30).length,
      routes.length,
    );
  });
});
