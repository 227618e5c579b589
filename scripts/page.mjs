// Puts the script and the style of each page into one module, such as dist/src/lineage/forms/page/assets.js: the page carries both as
// text, and its content security policy their hashes.
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))

for (const page of ['lineage/forms/page', 'search/page']) await writeAssets(page)

async function writeAssets(page) {
  const { outputFiles } = await build({
    entryPoints: ['main.ts', 'style.css'].map((name) => path.join(root, 'src', page, 'browser', name)),
    outdir: path.join(root, 'dist'),
    bundle: true,
    format: 'iife',
    target: ['es2022', 'chrome111', 'firefox113', 'safari16.4'],
    minify: true,
    write: false,
    logLevel: 'warning',
  })
  const textOf = (ending) => outputFiles.find(({ path: file }) => file.endsWith(ending)).text.trim()
  const [script, style] = [textOf('.js'), textOf('.css')]
  if (/<\/?script|<!--/i.test(script) || /<\/style/i.test(style))
    throw new Error('the page’s script or style has a tag')
  await writeFile(
    path.join(root, 'dist/src', page, 'assets.js'),
    `export const SCRIPT = ${JSON.stringify(script)}\nexport const STYLE = ${JSON.stringify(style)}\n`,
  )
}
