#!/usr/bin/env node
const { main } = await import('../dist/cli/main.js').catch((error) => {
  if (error.code === 'ERR_MODULE_NOT_FOUND' && /dist\/cli\/main\.js/.test(error.message.replaceAll('\\', '/'))) {
    console.error('error not-built: terge is not built here\n  hint: run npm ci and npm run build in its folder')
    process.exit(1)
  }
  // Where files are scarce, the program can't even be read.
  if (error.code !== 'EMFILE' && error.code !== 'ENFILE') throw error
  console.error(
    `error too-few-resources: too many open files: ${error.message}\n  hint: raise the limit, such as with ulimit -n 1024`,
  )
  process.exit(1)
})

await main(process.argv.slice(2), import.meta.url)
