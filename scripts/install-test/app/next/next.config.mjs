export default { serverExternalPackages: ['lopt'] }
