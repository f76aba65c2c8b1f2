import assert from "node:assert/strict";
import { test } from "node:test";
import { SignJWT } from "jose";
import { claimNextTaskEndpoint } from "../../supabase/functions/claim-next-task/endpoint.ts";
import { completeTaskEndpoint } from "../../supabase/functions/complete_task/endpoint.ts";
import { createTaskEndpoint } from "../../supabase/functions/create-task/endpoint.ts";
import { bind } from "../../supabase/functions/_shared/http/bind.ts";
import type { Endpoint } from "../../supabase/functions/_shared/http/endpoint.ts";
import { createEnvironment } from "../../supabase/functions/_shared/runtime/environment.ts";
import { hashToken, newToken } from "../../supabase/functions/_shared/tokens/token-format.ts";
import { updateTaskStatusEndpoint } from "../../supabase/functions/update-task-status/endpoint.ts";
import { countingProxy } from "../support/counting-proxy.ts";
import { withDatabase } from "../support/database.ts";
import { createUser } from "../support/factories.ts";
import { png } from "../support/png.ts";

const url = "https://darkroom.example";
const secret = "a-secret-of-at-least-thirty-two-characters";

test("create, claim, progress and complete cost one round trip each, whoever calls", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql);
    const token = newToken();
    await database.sql`
      select generate_pat(${user.userId}, ${Buffer.from(await hashToken(token))}, 'abcd', 'worker',
                          ${["tasks:run", "tasks:write"]})`;
    const session = await new SignJWT({ role: "authenticated" })
      .setProtectedHeader({ alg: "HS256" })
      .setSubject(user.userId)
      .setIssuer(`${url}/auth/v1`)
      .setAudience("authenticated")
      .setExpirationTime("1h")
      .sign(new TextEncoder().encode(secret));
    const proxy = await countingProxy(database.url);
    const picture = png();
    const environment = createEnvironment({
      // Storage, whose reads go over HTTP and not into this database.
      fetch: () =>
        Promise.resolve(
          new Response(picture as BodyInit, {
            status: 206,
            headers: { "content-range": `bytes 0-${picture.length - 1}/${picture.length}`, etag: '"tag"' },
          }),
        ),
      settings: {
        SUPABASE_URL: url,
        SUPABASE_DB_URL: proxy.url,
        SUPABASE_SERVICE_ROLE_KEY: "service-key",
        SUPABASE_JWT_SECRET: secret,
      },
    });

    /** Calls an endpoint and answers with the body and what it cost. */
    async function call(endpoint: Endpoint, credential: string, body: object) {
      proxy.roundTrips();
      const request = new Request(`${url}/functions/v1/${endpoint.contract.name}`, {
        method: "POST",
        headers: { authorization: `Bearer ${credential}` },
        body: JSON.stringify(body),
      });
      const response = await bind(endpoint, environment)(request);
      assert.equal(response.status, 200, await response.clone().text());
      return { answer: (await response.json()) as Record<string, unknown>, roundTrips: proxy.roundTrips() };
    }

    /** One task from creation to completion, and the round trips of each call. */
    async function roundTrip(creator: string, worker: string): Promise<number[]> {
      const created = await call(createTaskEndpoint, creator, {
        task_type: "z_image_turbo",
        project_id: user.projectId,
        params: { prompt: "a fox" },
      });
      const claimed = await call(claimNextTaskEndpoint, worker, { worker_id: "w" });
      const { task_id, attempt } = claimed.answer;
      const progressed = await call(updateTaskStatusEndpoint, worker, {
        task_id,
        attempt,
        status: "In Progress",
        progress: 0.5,
      });
      const path = `${user.userId}/tasks/${task_id}/1-x.png`;
      await database.sql`
        insert into storage.objects (bucket_id, name, metadata)
        values ('image_uploads', ${path}, ${database.sql.json({ size: picture.length, eTag: '"tag"' })})`;
      const completed = await call(completeTaskEndpoint, worker, { task_id, attempt, storage_path: path });
      return [created, claimed, progressed, completed].map(({ roundTrips }) => roundTrips);
    }

    try {
      // The first use of a statement on a connection also describes it; the pool opens one after the other.
      for (let warmUp = 0; warmUp < 40; warmUp++) {
        await roundTrip(session, "service-key");
        await roundTrip(token, token);
      }
      assert.deepEqual(await roundTrip(session, "service-key"), [1, 1, 1, 1]);
      assert.deepEqual(await roundTrip(token, token), [1, 1, 1, 1]);
    } finally {
      await environment.database.close();
      proxy.close();
    }
  }));
