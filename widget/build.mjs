// Builds the one file that capture serves. `node build.mjs [FOLDER]` writes widget.js there; by default where the Python
// package keeps it. The same source gives the same bytes: a test compares them. `node build.mjs --release` keeps the
// committed build for ever under its hash, since pages name it so.
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const STATIC = `${here}../src/otel_feedback/capture/static`;

/** A style sheet as the text of a module, minified. */
export const styles = {
  name: "styles",
  setup(building) {
    building.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, "utf8"), { loader: "css", minify: true });
      return { contents: code.trim(), loader: "text" };
    });
  },
};

async function make(folder) {
  await build({
    absWorkingDir: here,
    entryPoints: ["src/index.ts"],
    outfile: `${folder}/widget.js`,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    mangleProps: /^_/, // names that begin with _ are nobody's business
    legalComments: "none",
    plugins: [styles],
    logLevel: "warning",
  });
}

async function release() {
  const content = await readFile(`${STATIC}/widget.js`);
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 16);
  const { version } = JSON.parse(await readFile(`${here}package.json`, "utf8"));
  const released = JSON.parse(await readFile(`${STATIC}/released.json`, "utf8"));
  await writeFile(`${STATIC}/widget-${hash}.js`, content);
  await writeFile(`${STATIC}/released.json`, `${JSON.stringify({ ...released, [version]: hash }, null, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [argument = STATIC] = process.argv.slice(2);
  await make(argument === "--release" ? STATIC : argument);
  if (argument === "--release") await release();
}
