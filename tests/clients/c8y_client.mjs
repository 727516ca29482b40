// @c8y/client from npm: inventory, events, binaries.
import assert from "node:assert";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";

const { Client, FetchClient } = createRequire(`${process.argv[3]}/`)("@c8y/client");

// The proxy adds the device's credentials, there are none to send.
const nobody = {
  updateCredentials: () => undefined,
  getFetchOptions: (options) => options,
  getCometdHandshake: (config) => config,
  logout: () => undefined,
};
const client = new Client(nobody, process.argv[2]);
assert(client.core instanceof FetchClient);

const { data: device, res } = await client.inventory.create({ name: "machine", c8y_IsDevice: {} });
assert.equal(res.status, 201);
const { data: all } = await client.inventory.list({ pageSize: 100 });
assert(all.some((one) => one.id === device.id));

const { data: event } = await client.event.create({
  source: { id: device.id },
  type: "t",
  text: "Grüße",
  time: new Date().toISOString(),
});
assert.equal(event.text, "Grüße");

const content = "binary \u0000 content";
const file = Buffer.from(content);
const { data: binary } = await client.inventoryBinary.create(file, { fileName: "a.txt" });
const fetched = await client.inventoryBinary.download(binary.id);
assert.equal(fetched.status, 200);
assert.equal(await fetched.text(), content);

const big = randomBytes(2_000_000);
const { data: second } = await client.inventoryBinary.create(big, { fileName: "b" });
const again = await client.inventoryBinary.download(second.id);
assert(Buffer.from(await again.arrayBuffer()).equals(big));

const { data: tenant } = await client.tenant.current();
assert.equal(tenant.name, "t12345");
console.log("done");
process.exit(0);
