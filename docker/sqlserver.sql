-- The database and its user. sqlcmd takes $(...) from the environment; safe to repeat.
-- READ_COMMITTED_SNAPSHOT: whoever reads does not wait for whoever writes.
IF DB_ID('cprqueue') IS NULL CREATE DATABASE cprqueue;
GO
IF (SELECT is_read_committed_snapshot_on FROM sys.databases WHERE name = 'cprqueue') = 0
    ALTER DATABASE cprqueue SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE;
GO
IF SUSER_ID('cprqueue') IS NULL
    CREATE LOGIN cprqueue WITH PASSWORD = '$(DATABASE_PASSWORD)', DEFAULT_DATABASE = cprqueue;
GO
USE cprqueue;
IF USER_ID('cprqueue') IS NULL CREATE USER cprqueue FOR LOGIN cprqueue;
ALTER ROLE db_owner ADD MEMBER cprqueue;
GO
