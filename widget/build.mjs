// Builds the one file that capture serves. `node build.mjs [FOLDER]` writes widget.js there; by default where the Python
// package keeps it. The same source gives the same bytes: a test compares them.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));

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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await build({
    absWorkingDir: here,
    entryPoints: ["src/index.ts"],
    outfile: `${process.argv[2] ?? `${here}../src/otel_feedback/capture/static`}/widget.js`,
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
