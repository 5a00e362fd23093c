// Pages lie in .html files, which the bundler and the test runner import as text.

declare module '*.html' {
  const source: string
  export default source
}
