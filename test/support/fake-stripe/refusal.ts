/** The `error` of Stripe's answers. */
export interface StripeErrorBody {
  type: "invalid_request_error" | "card_error" | "api_error" | "idempotency_error";
  message: string;
  code?: string;
  decline_code?: string;
  param?: string;
  charge?: string;
  advice_code?: string;
  doc_url?: string;
  payment_intent?: object;
  payment_method?: object;
}

/** An answer with an error; what was done before it stays done, as with a declined payment. */
export class StripeRefusal extends Error {
  readonly status: number;
  readonly body: StripeErrorBody;

  constructor(status: number, body: StripeErrorBody) {
    super(body.message);
    this.status = status;
    this.body = {
      ...body,
      ...(body.code
        ? { doc_url: `https://stripe.com/docs/error-codes/${body.code.replaceAll("_", "-")}` }
        : {}),
    };
  }
}

export function invalid(message: string, rest: Partial<StripeErrorBody> = {}, status = 400): StripeRefusal {
  return new StripeRefusal(status, { type: "invalid_request_error", message, ...rest });
}

/** 404 where the id is in the URL, 400 where it is a parameter. */
export function missing(kind: string, id: string, param = "id"): StripeRefusal {
  const status = param === "id" ? 404 : 400;
  return invalid(`No such ${kind}: '${id}'`, { code: "resource_missing", param }, status);
}
