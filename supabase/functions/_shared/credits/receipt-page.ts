import { html, raw } from "hono/html";
import type { Receipt } from "./get-receipt.ts";

type Entry = Receipt["entry"];

const style = `
  body { max-width: 46rem; margin: 3rem auto; padding: 0 1.5rem; font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c }
  header, .parties { display: flex; justify-content: space-between; gap: 2rem; flex-wrap: wrap }
  h1 { margin: 0; font-size: 1.6rem } h2 { margin: 0; font-size: 0.8rem; font-weight: 600; color: #666 }
  p { margin: 0 } .parties { margin: 2rem 0 }
  table { width: 100%; border-collapse: collapse; margin-bottom: 1.5rem }
  th, td { padding: 0.4rem 0.6rem 0.4rem 0; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top }
  th { font-size: 0.8rem; color: #666 } .amount { text-align: right; font-variant-numeric: tabular-nums }
  .amount:last-child { padding-right: 0 } tfoot td { border: 0; font-weight: 600 } small { color: #666; overflow-wrap: anywhere }
  @media print { body { margin: 0; max-width: none } }
`;

const titles: Record<Entry["type"], string> = {
  stripe: "Credit bought",
  auto_topup: "Credit bought by automatic top-up",
  manual: "Credit granted",
  spend: "Work done",
  refund: "Credit taken back for a refund",
  dispute: "Credit taken back for a disputed payment",
  expiry: "Credit expired",
  debt: "Debt collected",
  write_off: "Work done, not charged",
};

/** A receipt as a page to print: everything in it is escaped, and nothing in it runs. */
export async function receiptPage(receipt: Receipt): Promise<Response> {
  return new Response(String(await pageOf(receipt)), {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": await policy(),
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    },
  });
}

/** Nothing is loaded, run, framed or sent; only this very style applies. */
async function policy(): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(style));
  const hash = btoa(String.fromCharCode(...new Uint8Array(digest)));
  return `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
}

function pageOf(receipt: Receipt) {
  const { receipt_number: number, entry, customer, seller } = receipt;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <title>Receipt ${number}</title>
        ${raw(`<style>${style}</style>`)}
      </head>
      <body>
        <header>
          <h1>Receipt</h1>
          <p>${number}<br />${entry.created_at.slice(0, 10)}</p>
        </header>
        <section class="parties">
          ${party("From", seller)}
          ${party("For", customer ? [customer.name, customer.email, customer.id] : [entry.user_id])}
        </section>
        ${linesOf(receipt)}
        <p>
          <small>
            Entry ${entry.id}, number ${entry.sequence} of the
            account.${entry.task_id ? html` Task ${entry.task_id}.` : ""}
            ${entry.call_id ? html`Call ${entry.call_id}.` : ""} Balance afterwards:
            ${dollars(entry.balance_after_microusd)}. 1 credit is 1 US cent.
          </small>
        </p>
      </body>
    </html>`;
}

function party(role: string, lines: readonly (string | null)[]) {
  const shown = lines.filter((line) => line !== null && line !== "");
  if (shown.length === 0) return "";
  return html`<div>
    <h2>${role}</h2>
    ${shown.map((line) => html`<p>${line}</p>`)}
  </div>`;
}

function linesOf({ entry, lines, total_microusd: total }: Receipt) {
  const { description } = entry.metadata;
  const rows = lines.length > 0 ? lines : [{ item: titles[entry.type], total_microusd: total }];
  return html`<p>${titles[entry.type]}${typeof description === "string" ? `: ${description}` : ""}</p>
    <table>
      <thead>
        <tr>
          <th>Item</th>
          <th class="amount">Quantity</th>
          <th class="amount">Each</th>
          <th class="amount">Amount</th>
        </tr>
      </thead>
      <tbody>
        ${rows.map(rowOf)}
      </tbody>
      <tfoot>
        <tr>
          <td colspan="3">Total${entry.amount_microusd > 0 ? " credited" : ""}</td>
          <td class="amount">${dollars(total)}</td>
        </tr>
      </tfoot>
    </table>`;
}

function rowOf({
  item,
  quantity,
  unit,
  each_microusd: each,
  factors = [],
  reason,
  total_microusd: total,
}: Receipt["lines"][number]) {
  const effective = factors.filter(({ multiplier }) => multiplier !== 1);
  const quantityShown = quantity === undefined ? "" : `${quantity} ${unit}${quantity === 1 ? "" : "s"}`;
  return html`<tr>
    <td>
      ${item === "written_off" ? "Cost beyond the quote, not charged" : item}
      ${reason ? html`<br /><small>Cancelled: what was consumed until then</small>` : ""}
      ${effective.map(
        ({ factor, value, multiplier }) => html`<br /><small>${factor} ${value} × ${multiplier}</small>`,
      )}
    </td>
    <td class="amount">${quantityShown}</td>
    <td class="amount">${each === undefined ? "" : dollars(each)}</td>
    <td class="amount">${dollars(total)}</td>
  </tr>`;
}

/** As many decimals as there are, at least cents. */
const money = new Intl.NumberFormat("en-US", {
  style: "currency",
  currency: "USD",
  minimumFractionDigits: 2,
  maximumFractionDigits: 6,
});

function dollars(microusd: number): string {
  return money.format(microusd / 1_000_000);
}
