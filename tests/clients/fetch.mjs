// node's fetch: list objects, create an event, attach a binary to it and fetch that.
import assert from "node:assert";
import { randomBytes } from "node:crypto";

const base = process.argv[2];
const objects = await fetch(`${base}/inventory/managedObjects?pageSize=5`);
assert.equal(objects.status, 200);
assert(Array.isArray((await objects.json()).managedObjects));

const event = { source: { id: "1" }, type: "t", text: "Grüße", time: "2024-05-06T07:08:09Z" };
const json = { "Content-Type": "application/json" };
const created = await fetch(`${base}/event/events`, {
  method: "POST",
  headers: json,
  body: JSON.stringify(event),
});
assert.equal(created.status, 201);
const { id, text } = await created.json();
assert.equal(text, "Grüße");

const content = randomBytes(3_000_000);
const form = new FormData();
form.append("object", "{}");
form.append("file", new Blob([content], { type: "x/y" }), "a.bin");
const at = `${base}/event/events/${id}/binaries`;
assert.equal((await fetch(at, { method: "POST", body: form })).status, 201);
const fetched = await fetch(at);
assert.equal(fetched.headers.get("content-type"), "x/y");
assert(Buffer.from(await fetched.arrayBuffer()).equals(content));

const stream = new Blob([content]).stream();
const chunked = await fetch(at, { method: "PUT", body: stream, duplex: "half" });
assert.equal(chunked.status, 201);
const all = await Promise.all(Array.from({ length: 20 }, () => fetch(`${base}/tenant/currentTenant`)));
assert(all.every((answer) => answer.status === 200));
console.log("done");
process.exit(0);
