// TorchScript source lies in .py files, which the bundler and the test runner import as text.

declare module '*.py' {
  const source: string
  export default source
}
