"""What tests share: compiling fixtures, and starting processes that say when they are ready."""
