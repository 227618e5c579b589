// Puts the command's many modules, and those of the packages that every start needs, into few files in dist/cli: starting up
// is mostly opening files. WebAssembly modules stay where they are: what a module finds beside itself it still
// finds in dist/src. The licences of the packages go along.
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const source = path.join(root, 'dist/src')
const target = path.join(root, 'dist/cli')

/** Modules keep the address that they had, as seen from the bundle. */
const addresses = {
  name: 'addresses',
  setup({ onLoad }) {
    onLoad({ filter: /\.js$/ }, async ({ path: file }) => {
      if (!file.startsWith(source)) return undefined
      const text = await readFile(file, 'utf8')
      if (file === path.join(source, 'execute/pools/keptWorkers.js'))
        return { contents: text.replace("'../worker/worker.js'", "'./worker.js'") }
      const relative = path.relative(target, file).split(path.sep).join('/')
      return {
        contents: text.replaceAll('import.meta.url', `new URL(${JSON.stringify(relative)}, import.meta.url).href`),
      }
    })
  },
}

await rm(target, { recursive: true, force: true })
/** Wanted by few runs, and loaded when they want it. */
const external = ['@huggingface/hub', 'listr2', 're2js']

const { metafile } = await build({
  // The pool of workers finds theirs beside itself, which is here.
  entryPoints: [path.join(source, 'commands/main.js'), path.join(source, 'execute/worker/worker.js')],
  entryNames: '[name]',
  outdir: target,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external,
  // Packages in CommonJS ask for Node's own modules by `require`.
  banner: {
    js: [
      "import { createRequire as requireFrom } from 'node:module'",
      "import { fileURLToPath as pathFrom } from 'node:url'",
      'const require = requireFrom(import.meta.url), __filename = pathFrom(import.meta.url)',
      "const __dirname = pathFrom(new URL('.', import.meta.url))",
      '',
    ].join('\n'),
  },
  // Names stay: they stand in stack traces.
  minifyWhitespace: true,
  minifySyntax: true,
  logLevel: 'warning',
  metafile: true,
  plugins: [addresses],
})

const packages = new Set(
  Object.keys(metafile.inputs).flatMap((input) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []),
)
const licences = await Promise.all([...packages].sort().map((folder) => licenceOf(path.resolve(root, folder))))
await writeFile(path.join(target, 'LICENSES.txt'), licences.join('\n'))

async function licenceOf(folder) {
  const { name, version, license } = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'))
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry))
  const text = file ? await readFile(path.join(folder, file), 'utf8') : ''
  return `${name} ${version} (${license})\n\n${text}`
}
