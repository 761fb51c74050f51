// Bundles the tests of what needs no browser, and runs them by Node's own runner.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { styles } from "../build.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const folder = `${here}../node_modules/.tests`;
const tests = readdirSync(here).filter((name) => name.endsWith(".test.ts"));

await build({
  entryPoints: tests.map((name) => here + name),
  outdir: folder,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  plugins: [styles],
  logLevel: "warning",
});
const files = tests.map((name) => `${folder}/${name.replace(/\.ts$/, ".mjs")}`);
process.exitCode = spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" }).status ?? 1;
