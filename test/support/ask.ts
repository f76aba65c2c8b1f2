import { bind } from "../../supabase/functions/_shared/http/bind.ts";
import type { Endpoint } from "../../supabase/functions/_shared/http/endpoint.ts";
import type { EnvironmentUnderTest } from "./environment.ts";

export interface AskAnswer {
  status: number;
  body: Record<string, unknown>;
}

/** Requests to one endpoint, as many as a test likes; a text is sent as it is. */
export function asker(
  under: EnvironmentUnderTest,
  { contract: usual, run }: Endpoint,
): (body: unknown, credentials: Record<string, string>) => Promise<AskAnswer> {
  const contract = { ...usual, requestsPerMinute: 1_000_000 };
  const serve = bind({ contract, run }, { ...under.environment, serviceRequestsPerMinute: 1_000_000 });
  return async (body, credentials) => {
    const answer = await serve(
      new Request(`${under.apiUrl}/functions/v1/${contract.name}`, {
        method: "POST",
        body: typeof body === "string" ? body : JSON.stringify(body),
        headers: { "content-type": "application/json", ...credentials },
      }),
    );
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
}
